package api

import "time"

// ConfigFolder is the answer of GET /api/v1/config: the folder of the configuration beside what is in force.
type ConfigFolder struct {
	Folder   string `json:"folder"`   // as this process sees it; empty: it has none
	Writable bool   `json:"writable"` // this process may edit its files
	Why      string `json:"why,omitempty"`
	// Version is that of the folder as it stands, empty where it is refused; ETag is of all its files together.
	Version string         `json:"version"`
	ETag    string         `json:"etag"`
	InForce *ConfigVersion `json:"in_force"` // null: none is, or Kafka is not reached
	// Differs says that the folder holds something else than what is in force: plan tells what.
	Differs  bool            `json:"differs"`
	Files    []ConfigFile    `json:"files"`    // by path
	Problems []ConfigProblem `json:"problems"` // why the folder is refused; none: it is good
	// NotKnown says what could not be looked at, and why.
	NotKnown []string `json:"not_known"`
}

// ConfigFile is one file of the folder.
type ConfigFile struct {
	Path     string    `json:"path"` // from the folder, with slashes
	Kind     string    `json:"kind"` // settings, connections, destinations, mappings, workflows
	Name     string    `json:"name"` // of the connection, mapping ...; "tillstream" for the settings
	ETag     string    `json:"etag"`
	Bytes    int       `json:"bytes"`
	Modified time.Time `json:"modified"`
	InForce  bool      `json:"in_force"` // the version in force has the same text
}

// ConfigText is the answer of GET /api/v1/config/files/{path...}; its ETag is in the header, too.
type ConfigText struct {
	ConfigFile
	Text     string          `json:"text"`
	Problems []ConfigProblem `json:"problems"` // of this file
}

// ConfigFinding is something that is valid, and does not do what it says.
type ConfigFinding struct {
	ConfigProblem
	Severity string `json:"severity"` // error or warning
	Rule     string `json:"rule"`     // name of the check that found it
}

// ConfigFileEdit is the body of PUT /api/v1/config/files/{path...}: the whole text of the file. A file that is there takes
// If-Match; a new one takes If-None-Match: *.
type ConfigFileEdit struct {
	Text string `json:"text"`
}

// ConfigEdited is the answer to an edit of a file, a mapping or a workflow. With dry_run=true nothing was written.
type ConfigEdited struct {
	Path    string `json:"path"`
	ETag    string `json:"etag"` // of the text as it is now; with dry_run: as it would be. Empty: the file is deleted
	Written bool   `json:"written"`
	// Text is the file as it is now, or would be; Diff is unified, from what was there before.
	Text     string          `json:"text"`
	Diff     string          `json:"diff"`
	Version  string          `json:"version"`  // of the folder with it; empty: it is refused
	Problems []ConfigProblem `json:"problems"` // of the folder with it
	// Applied is what became of putting it in force, where apply=true asked for that.
	Applied *ConfigApplied `json:"applied,omitempty"`
}

// ConfigConflict is the key conflict of a problem with the code edited_meanwhile: somebody changed the file since it was read.
type ConfigConflict struct {
	Path string `json:"path"`
	ETag string `json:"etag"` // of the file as it is now; empty: it is gone
	Text string `json:"text"` // as it is now
	Diff string `json:"diff"` // from the file as it is now to the one that was sent
}

// ConfigTry is the body of check, plan and apply. Without files, the folder is meant as it stands.
type ConfigTry struct {
	// Files are texts in the place of the folder's, by path; null takes a file away.
	Files map[string]*string `json:"files,omitempty"`
	// Whole: Files is the whole configuration, and nothing of the folder is part of it.
	Whole bool `json:"whole,omitempty"`
	// Version is an earlier version in the place of the folder; not with Files.
	Version string `json:"version,omitempty"`
	// Offline asks neither the CRMs nor ClickHouse. Of check only.
	Offline bool `json:"offline,omitempty"`
	// Expect is the version that a plan showed: apply refuses another one. Of apply only.
	Expect string `json:"expect,omitempty"`
	// Touch has every contact looked at under the new version, also where no workflow wants it. Of apply only.
	Touch bool `json:"touch,omitempty"`
}

// ConfigCheck is the answer of POST /api/v1/config/check.
type ConfigCheck struct {
	Version    string          `json:"version"`     // empty: it is refused
	Refused    []ConfigProblem `json:"refused"`     // why it would not be run
	Findings   []ConfigFinding `json:"findings"`    // what does not do what it says
	NotChecked []string        `json:"not_checked"` // what could not be looked at, and why
}

// ConfigPlan is the answer of POST /api/v1/config/plan: what would change, as people mean it.
type ConfigPlan struct {
	From string `json:"from"` // version in force; empty: none
	To   string `json:"to"`   // version that it would be; empty: it is refused
	// Changes are ordered by kind and name.
	Changes []ConfigChange `json:"changes"`
	// Files are the differences of the texts, by path.
	Files    []ConfigFileDiff `json:"files"`
	Problems []ConfigProblem  `json:"problems"` // why it would be refused
}

// ConfigChange is one thing that is added, changed or removed.
type ConfigChange struct {
	Action string `json:"action"` // added, changed or removed
	Kind   string `json:"kind"`   // mapping, rule, workflow, connection, destination or settings
	Name   string `json:"name"`   // of a rule: MAPPING/the CRM's field
	File   string `json:"file"`
	// Fields are the keys that differ, with their values as JSON; a secret's reference, never its value.
	Fields []ConfigFieldChange `json:"fields,omitempty"`
	// Counts says from when on: on_apply, at_once (connections) or next_start.
	Counts string `json:"counts"`
}

// ConfigFieldChange is one key that differs.
type ConfigFieldChange struct {
	Field string `json:"field"` // dotted
	Was   any    `json:"was"`   // null: it was not there
	Is    any    `json:"is"`    // null: it is not there any more
}

// ConfigFileDiff is the difference of one file's text.
type ConfigFileDiff struct {
	Path   string `json:"path"`
	Action string `json:"action"` // added, changed or removed
	Diff   string `json:"diff"`   // unified
}

// ConfigApplied is the answer of POST /api/v1/config/apply and of a restore. It is said when the version is in force; the
// partitions follow within seconds, which GET /api/v1/config/versions/{version} shows.
type ConfigApplied struct {
	Version   string   `json:"version"`
	Was       string   `json:"was"`       // the version in force before; empty: none
	Published bool     `json:"published"` // false: it was in force already
	Notes     []string `json:"notes"`     // what does not count at once
	Touching  bool     `json:"touching"`  // every contact is looked at under it, in the background
	// Partitions are those of the automation stage, and how far each is.
	Partitions []ConfigFollower `json:"partitions"`
}

// ConfigFollower is how far one partition is with a version.
type ConfigFollower struct {
	Partition int32  `json:"partition"`
	Version   string `json:"version"` // that it follows
	Since     int64  `json:"since"`   // offset of its inbox
	Owner     string `json:"owner"`
	Follows   bool   `json:"follows"` // the version that was asked about
}

// ConfigVersion is one version that was ever in force.
type ConfigVersion struct {
	Version string    `json:"version"`
	By      string    `json:"by"`
	At      time.Time `json:"at"` // when it was put in force last
	InForce bool      `json:"in_force"`
	Files   int       `json:"files"`
	// Changed are the paths that differ from the version before it.
	Changed []string `json:"changed"`
}

// ConfigVersionList is the answer of GET /api/v1/config/versions: newest first. Next is the cursor of the next page.
type ConfigVersionList struct {
	Items []ConfigVersion `json:"items"`
	Next  string          `json:"next,omitempty"`
}

// ConfigVersionText is the answer of GET /api/v1/config/versions/{version}, with the difference from the version that
// against names: folder, in_force, another version, or (left out) the one before it.
type ConfigVersionText struct {
	ConfigVersion
	Against    string            `json:"against"`
	Plan       ConfigPlan        `json:"plan"`       // from against to this version
	Texts      map[string]string `json:"texts"`      // by path
	Partitions []ConfigFollower  `json:"partitions"` // of the version in force
}

// ConfigRestore is the body of POST /api/v1/config/versions/{version}/restore: the version is written to the folder and put
// in force. If-Match takes the ETag of GET /api/v1/config.
type ConfigRestore struct {
	DryRun bool `json:"dry_run,omitempty"` // tell what would change, and change nothing
	// FolderOnly writes the folder and puts nothing in force; ForceOnly is the other way round, for a folder that cannot be written.
	FolderOnly bool `json:"folder_only,omitempty"`
	ForceOnly  bool `json:"force_only,omitempty"`
}

// ConfigRestored is the answer to it.
type ConfigRestored struct {
	Plan    ConfigPlan     `json:"plan"`    // from the folder as it was to the version
	Written []string       `json:"written"` // paths that were written or deleted
	Applied *ConfigApplied `json:"applied,omitempty"`
}

// ConfigExport is the answer of GET /api/v1/config/export?format=json: every text of the configuration, secrets as
// references. The same configuration gives the same bytes. format=tar (the default) is an archive of the same files.
type ConfigExport struct {
	Version string            `json:"version"`
	Files   map[string]string `json:"files"` // by path
}
