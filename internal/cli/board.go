package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/deliver"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/pipeline/load"
	"github.com/tillstream/tillstream/schemas"
)

// States of a partition on the board: those of its owner, and two that only the group knows.
const (
	stateNotOwned  = "not owned" // nobody has it
	stateElsewhere = "elsewhere" // a process that was not asked has it
)

// board is what all processes said, merged. docs/operations.md describes its JSON.
type board struct {
	At           time.Time        `json:"at"`
	OK           bool             `json:"ok"`
	Processes    []processRow     `json:"processes"`
	Partitions   []partitionRow   `json:"partitions"`
	Destinations []destinationRow `json:"destinations"`
	// HeldBack are the connections that people have paused and of which commands wait.
	HeldBack []deliver.ConnectionStatus `json:"connections_held_back,omitempty"`
	Loads    []loadRow                  `json:"loads"`
	Troubles []trouble                  `json:"troubles"`
	Notices  []notice                   `json:"notices,omitempty"` // alarms of connections, and changes that wait for a restart
	groups   map[string]*api.Group      // by stage
}

type processRow struct {
	Address  string `json:"address"`
	Instance string `json:"instance,omitempty"`
	Version  string `json:"version,omitempty"`
	Ready    bool   `json:"ready"`
	Error    string `json:"error,omitempty"` // why it could not be asked
	started  string
}

// partitionRow is one partition of a stage. What is not known is absent.
type partitionRow struct {
	Stage     string `json:"stage"`
	Partition int32  `json:"partition"`
	Owner     string `json:"owner,omitempty"` // instance/lane, or the host of a process that was not asked
	State     string `json:"state"`
	// LagSeconds is the age of the oldest record that waits; LagAtMost where the owner does not hold that record, and
	// only knows that it is younger than this.
	LagSeconds     *float64  `json:"lag_seconds,omitempty"`
	LagAtMost      *float64  `json:"lag_at_most_seconds,omitempty"`
	Behind         *int64    `json:"behind,omitempty"`
	RestorePercent *float64  `json:"restore_percent,omitempty"`
	WaitsArmed     *int64    `json:"waits_armed,omitempty"`
	StreamTime     time.Time `json:"stream_time,omitzero"`
	// Config is the version of the configuration that the partition follows since offset ConfigFrom of its inbox.
	Config     string `json:"config,omitempty"`
	ConfigFrom *int64 `json:"config_from,omitempty"`
	Reason     string `json:"reason,omitempty"`
	Detail     string `json:"detail,omitempty"`
	Remedy     string `json:"remedy,omitempty"`
}

type destinationRow struct {
	Name       string    `json:"name"`
	Unfinished int       `json:"unfinished"`
	InFlight   int       `json:"in_flight"`
	Oldest     time.Time `json:"oldest,omitzero"`
	Paused     string    `json:"paused,omitempty"`
	Until      time.Time `json:"until,omitzero"`
	Detail     string    `json:"detail,omitempty"`
	Remedy     string    `json:"remedy,omitempty"`
	// HeldBack is a person's pause.
	HeldBack *deliver.HeldBack `json:"held_back,omitempty"`
}

// loadRow is one topic on its way to ClickHouse.
type loadRow struct {
	Topic      string   `json:"topic"`
	Behind     int64    `json:"behind"`
	LagSeconds float64  `json:"lag_seconds"`
	Rows       int      `json:"rows"`
	Troubles   []string `json:"troubles,omitempty"`
}

// trouble is a part of a process that is not ready, or something wrong with the processes as a whole.
type trouble struct {
	Instance string   `json:"instance,omitempty"`
	Part     string   `json:"part,omitempty"`
	Reasons  []string `json:"reasons"`
}

// merge makes one board of what was said. A process that was asked under two addresses counts once.
func merge(all []said) *board {
	b := &board{groups: map[string]*api.Group{}, Partitions: []partitionRow{}, Destinations: []destinationRow{}, Loads: []loadRow{}, Troubles: []trouble{}}
	for _, s := range all {
		row := processRow{Address: s.address, Instance: s.process["instance"], Version: s.process["version"], Ready: s.ready, started: s.process["started"]}
		if s.err != nil {
			row.Error = s.err.Error()
			b.Processes = append(b.Processes, row)
			continue
		}
		same := slices.IndexFunc(b.Processes, func(r processRow) bool { return r.Error == "" && r.Instance == row.Instance })
		if same >= 0 && b.Processes[same].started == row.started {
			continue
		}
		if same >= 0 {
			b.Troubles = append(b.Troubles, trouble{Instance: row.Instance, Reasons: []string{fmt.Sprintf(
				"the processes at %s and %s have the same instance name and end each other's transactions; give each its own (instance in tillstream.yaml)", b.Processes[same].Address, row.Address)}})
		}
		b.Processes = append(b.Processes, row)
		b.At = later(b.At, s.at)
		for _, part := range s.parts {
			b.add(row.Instance, s.at, part)
		}
	}
	b.addUnclaimed()
	slices.SortStableFunc(b.Partitions, func(x, y partitionRow) int {
		return cmp.Or(cmp.Compare(x.Stage, y.Stage), cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.Owner, y.Owner))
	})
	slices.SortFunc(b.Destinations, func(x, y destinationRow) int { return cmp.Compare(x.Name, y.Name) })
	slices.SortFunc(b.Loads, func(x, y loadRow) int { return cmp.Compare(x.Topic, y.Topic) })
	b.OK = b.verdict() == nil
	return b
}

func (b *board) add(instance string, at time.Time, part saidPart) {
	var problem error
	switch {
	case part.Stage != nil:
		if g := part.Stage.Group; g != nil && (b.groups[part.Stage.Name] == nil || g.At.After(b.groups[part.Stage.Name].At)) {
			b.groups[part.Stage.Name] = g
		}
		var list []stageStatus
		if problem = decode(part.Status, &list); problem == nil {
			for _, s := range list {
				b.addHeld(instance, part.Stage.Name, s.PartitionStatus)
				b.Partitions = append(b.Partitions, partitionOf(part.Stage.Name, instance, at, s, part.Stage.Group))
			}
		}
	case part.Name == "deliver":
		var s deliver.Status
		if problem = decode(part.Status, &s); problem == nil {
			b.addDestinations(instance, s)
			b.addWindows(instance, s)
		}
	case part.Name == connections.PartName:
		var s connections.Standing
		if problem = decode(part.Status, &s); problem == nil {
			b.addConnections(instance, s)
		}
	case part.Name == destinations.PartName:
		var s destinations.Standing
		if problem = decode(part.Status, &s); problem == nil {
			b.addAccounts(instance, s)
		}
	case part.Name == app.PausesPart:
		var list []schemas.Pause
		if problem = decode(part.Status, &list); problem == nil {
			b.addPauses(list)
		}
	case part.Name == app.ConfigPart:
		var s app.ConfigStanding
		if problem = decode(part.Status, &s); problem == nil {
			b.addConfig(instance, s)
		}
	case part.Name == "load":
		var s load.Status
		if problem = decode(part.Status, &s); problem == nil {
			b.addLoads(s)
		}
	}
	if problem != nil {
		b.Troubles = append(b.Troubles, trouble{instance, part.Name, []string{"its status cannot be read, it is perhaps of another version: " + problem.Error()}})
	}
	if part.Ready {
		return
	}
	reasons := part.Reasons
	if len(reasons) == 0 {
		reasons = []string{part.Reason}
	}
	if part.Stage != nil { // its partitions have rows of their own
		reasons = slices.DeleteFunc(slices.Clone(reasons), func(r string) bool { return strings.HasPrefix(r, "partition ") })
	}
	if len(reasons) > 0 {
		b.Troubles = append(b.Troubles, trouble{instance, part.Name, reasons})
	}
}

func decode(raw json.RawMessage, v any) error {
	if len(raw) == 0 { // it did not answer; its reason says so
		return nil
	}
	return json.Unmarshal(raw, v)
}

// stageStatus is a partition as its owner shows it; RestoreStart is absent where the owner does not tell.
type stageStatus struct {
	pipeline.PartitionStatus
	RestoreStart int64 `json:"restore_start"`
}

func partitionOf(stage, instance string, at time.Time, s stageStatus, g *api.Group) partitionRow {
	row := partitionRow{
		Stage: stage, Partition: s.Partition, Owner: instance + "/" + strconv.Itoa(s.Lane), State: s.State,
		Reason: string(s.Reason), Detail: s.Detail, Remedy: s.Remedy,
	}
	// Before its first recovery ended, a partition knows nothing of its offsets and waits.
	known := s.State == "running" || s.Offsets != nil
	if known {
		row.WaitsArmed, row.StreamTime = &s.TimersArmed, s.StreamTime
		row.Behind = &s.Behind
	}
	if s.Config != "" {
		row.Config, row.ConfigFrom = s.Config, &s.ConfigFrom
	}
	if s.State == "running" {
		row.LagSeconds = &s.LagSeconds
		row.RestorePercent = pointer(100.0)
		return row
	}
	if g != nil && !g.At.IsZero() && int(s.Partition) < len(g.Partitions) {
		row.Behind = &g.Partitions[s.Partition].Behind
	}
	switch {
	case row.Behind != nil && *row.Behind == 0:
		row.LagSeconds = pointer(0.0)
	case known && s.StreamTime.Unix() > 0:
		row.LagAtMost = pointer(max(0, at.Sub(s.StreamTime).Seconds()))
	}
	if s.RestoreTarget > s.RestoreStart {
		row.RestorePercent = pointer(100 * float64(s.RestorePosition-s.RestoreStart) / float64(s.RestoreTarget-s.RestoreStart))
	}
	return row
}

func pointer[T any](v T) *T { return &v }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// addUnclaimed adds the partitions that no asked process has.
func (b *board) addUnclaimed() {
	for _, stage := range slices.Sorted(maps.Keys(b.groups)) {
		g := b.groups[stage]
		if g.Error != "" {
			b.Troubles = append(b.Troubles, trouble{Part: "stage " + stage, Reasons: []string{g.Error}})
		}
		for _, gp := range g.Partitions {
			if slices.ContainsFunc(b.Partitions, func(r partitionRow) bool { return r.Stage == stage && r.Partition == gp.Partition }) {
				continue
			}
			row := partitionRow{Stage: stage, Partition: gp.Partition, State: stateNotOwned, Behind: &gp.Behind}
			if gp.Member != "" {
				row.State, row.Owner = stateElsewhere, gp.Member
			}
			b.Partitions = append(b.Partitions, row)
		}
	}
}

// pausedRefused is deliver's word for a destination that wants other credentials.
const pausedRefused = "refused"

func (b *board) addDestinations(instance string, s deliver.Status) {
	for _, c := range s.Connections {
		i := slices.IndexFunc(b.HeldBack, func(x deliver.ConnectionStatus) bool { return x.Name == c.Name })
		if i < 0 {
			b.HeldBack = append(b.HeldBack, c)
			continue
		}
		b.HeldBack[i].Waiting += c.Waiting
	}
	for _, d := range s.Destinations {
		i := slices.IndexFunc(b.Destinations, func(r destinationRow) bool { return r.Name == d.Name })
		if i < 0 {
			i = len(b.Destinations)
			b.Destinations = append(b.Destinations, destinationRow{Name: d.Name})
		}
		r := &b.Destinations[i]
		r.Unfinished, r.InFlight = r.Unfinished+d.Unfinished, r.InFlight+d.InFlight
		if d.HeldBack != nil {
			r.HeldBack = d.HeldBack
		}
		if !d.Oldest.IsZero() && (r.Oldest.IsZero() || d.Oldest.Before(r.Oldest)) {
			r.Oldest = d.Oldest
		}
		if d.Paused != "" {
			r.Paused, r.Until, r.Detail, r.Remedy = d.Paused, later(r.Until, d.Until), d.Detail, d.Remedy
		}
		if d.Paused == pausedRefused {
			b.Troubles = append(b.Troubles, trouble{instance, "destination " + d.Name, []string{
				refusedText(d),
			}})
		}
	}
}

// refusedText is what a destination that wants other credentials said, and what to do.
func refusedText(d deliver.DestinationStatus) string {
	said, remedy := "it refuses the account or the key", "mend the account: then it goes on by itself"
	if d.Detail != "" {
		said += " (" + harmless(strings.TrimRight(d.Detail, ".")) + ")"
	}
	if d.Remedy != "" {
		remedy = harmless(d.Remedy) + "; once the account is mended it goes on by itself"
	}
	return said + "; its commands wait. What to do: " + remedy + ". A new key: tillstream connect --reconnect " + d.Name + ", and restart"
}

// addWindows adds the partitions of the commands that do not run as they should.
func (b *board) addWindows(instance string, s deliver.Status) {
	for _, w := range s.Windows {
		if w.State == "running" {
			continue
		}
		row := partitionRow{Stage: stageDeliver, Partition: w.Partition, Owner: instance, State: w.State, Reason: string(w.Reason), Detail: w.Detail, Remedy: w.Remedy}
		if w.State == "checking" {
			row.State = "recovering"
		}
		b.Partitions = append(b.Partitions, row)
	}
}

// stageDeliver stands for the delivery, which has no stage, in the table of partitions.
const stageDeliver = "deliver"

func (b *board) addLoads(s load.Status) {
	for _, p := range s.Partitions {
		i := slices.IndexFunc(b.Loads, func(r loadRow) bool { return r.Topic == p.Topic })
		if i < 0 {
			i = len(b.Loads)
			b.Loads = append(b.Loads, loadRow{Topic: p.Topic})
		}
		r := &b.Loads[i]
		r.Behind, r.LagSeconds, r.Rows = r.Behind+p.LagRecords, max(r.LagSeconds, p.LagSeconds), r.Rows+p.Rows
		if p.Trouble != "" && !slices.Contains(r.Troubles, p.Trouble) {
			r.Troubles = append(r.Troubles, p.Trouble)
		}
	}
}

// verdict is nil where everything runs, else what does not, with the exit code.
func (b *board) verdict() error {
	count := map[string]int{}
	for _, r := range b.Partitions {
		count[r.State]++
	}
	var words []string
	for _, state := range []string{"stalled", "recovering", stateNotOwned} {
		if n := count[state]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, state))
		}
	}
	if len(words) > 0 {
		words = []string{"partitions: " + strings.Join(words, ", ")}
	}
	if n := len(b.Troubles); n > 0 {
		words = append(words, fmt.Sprintf("parts that are not ready: %d", n))
	}
	code, silent := ExitNotRunning, 0
	for _, p := range b.Processes {
		if p.Error != "" {
			silent++
		}
	}
	if len(words) == 0 && silent > 0 {
		code = ExitCannotAsk
	}
	if silent > 0 {
		words = append(words, fmt.Sprintf("processes that do not answer: %d of %d", silent, len(b.Processes)))
	}
	if len(words) == 0 {
		return nil
	}
	return &codedError{code, fmt.Errorf("%s", strings.Join(words, "; "))}
}

const (
	wrapColumns = 100
	wrapIndent  = "        "
)

// print writes the board for people.
func (b *board) print(w io.Writer) error {
	b.printProcesses(w)
	if err := b.printPartitions(w); err != nil {
		return err
	}
	if err := b.printSinks(w); err != nil {
		return err
	}
	if len(b.Troubles) > 0 {
		fmt.Fprintln(w, "\nNOT READY")
	}
	for _, t := range b.Troubles {
		fmt.Fprintln(w, strings.Trim(t.Instance+": "+t.Part, ": "))
		for _, reason := range t.Reasons {
			wrap(w, reason)
		}
	}
	b.printNotices(w)
	return nil
}

func (b *board) printProcesses(w io.Writer) {
	for _, p := range b.Processes {
		switch {
		case p.Error != "":
			fmt.Fprintf(w, "%s does not answer: %s; is it running, and is this its management.listen?\n", p.Address, p.Error)
		case p.Ready:
			fmt.Fprintf(w, "%s (%s): ready\n", p.Instance, p.Version)
		default:
			fmt.Fprintf(w, "%s (%s): not ready\n", p.Instance, p.Version)
		}
	}
}

// printPartitions writes the table. Its lines come from one tabwriter, so that the explanations beneath a row do not
// widen the columns.
func (b *board) printPartitions(w io.Writer) error {
	if len(b.Partitions) == 0 {
		return nil
	}
	var lines strings.Builder
	tw := tabwriter.NewWriter(&lines, 0, 4, 2, ' ', 0)
	versions := slices.ContainsFunc(b.Partitions, func(r partitionRow) bool { return r.Config != "" })
	fmt.Fprint(tw, "STAGE\tPARTITION\tOWNER\tSTATE\tLAG\tBEHIND\tRESTORED\tWAITS")
	if versions {
		fmt.Fprint(tw, "\tCONFIG")
	}
	fmt.Fprintln(tw)
	for _, r := range b.Partitions {
		lag := "?"
		switch {
		case r.LagSeconds != nil:
			lag = seconds(*r.LagSeconds)
		case r.LagAtMost != nil:
			lag = "<= " + seconds(*r.LagAtMost)
		}
		restored := "-"
		if r.RestorePercent != nil {
			restored = strconv.Itoa(int(*r.RestorePercent)) + " %"
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s", r.Stage, r.Partition, cmp.Or(r.Owner, "-"), r.State, lag, number(r.Behind), restored, number(r.WaitsArmed))
		if versions {
			fmt.Fprint(tw, "\t"+r.follows())
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for i, line := range strings.Split(strings.TrimSuffix(lines.String(), "\n"), "\n") {
		fmt.Fprintln(w, strings.TrimRight(line, " "))
		if i == 0 {
			continue
		}
		r := b.Partitions[i-1]
		if r.Reason != "" {
			wrap(w, r.Reason+": "+r.Detail)
			remedy := r.Remedy
			if strings.Contains(remedy, "resume") && r.Stage != stageDeliver {
				remedy += fmt.Sprintf(" (tillstream resume --stage %s --partition %d)", r.Stage, r.Partition)
			}
			wrap(w, "what to do: "+remedy)
		}
		if i > 1 && r.Stage == b.Partitions[i-2].Stage && r.Partition == b.Partitions[i-2].Partition {
			wrap(w, "two processes say that they have it: one is about to learn that it has not; only one can commit")
		}
		if r.State == stateNotOwned {
			wrap(w, "what to do: start a process with the role processors; if one runs, ask again in 20 s: a dead owner is noticed after 15 s")
		}
	}
	return nil
}

// heldBackText tells of a person's pause.
func heldBackText(subject, name string, waiting int, h *deliver.HeldBack) string {
	return fmt.Sprintf("%s %s: paused by %s since %s: %s; %d commands wait; 'tillstream resume %s %s' lets them go on",
		subject, name, harmless(h.By), instant(h.Since), harmless(h.Why), waiting, subject, name)
}

func (b *board) printSinks(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if len(b.Destinations) > 0 {
		fmt.Fprintln(tw, "\nDESTINATION\tUNFINISHED\tIN FLIGHT\tOLDEST\tPAUSED")
	}
	for _, d := range b.Destinations {
		oldest, paused := "-", "-"
		if !d.Oldest.IsZero() {
			oldest = seconds(max(0, b.At.Sub(d.Oldest).Seconds()))
		}
		switch {
		case d.HeldBack != nil:
			paused = "by " + harmless(d.HeldBack.By)
		case d.Paused != "" && d.Until.After(b.At):
			paused = fmt.Sprintf("%s, for %s", d.Paused, seconds(d.Until.Sub(b.At).Seconds()))
		case d.Paused != "":
			paused = d.Paused
		}
		fmt.Fprintf(tw, "%s\t%d\t%d\t%s\t%s\n", d.Name, d.Unfinished, d.InFlight, oldest, paused)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, d := range b.Destinations {
		if d.HeldBack != nil {
			fmt.Fprintln(w, heldBackText("destination", d.Name, d.Unfinished, d.HeldBack))
		}
		if d.Paused != "" && d.Paused != pausedRefused && d.Detail != "" { // one that refuses is told under NOT READY
			fmt.Fprintf(w, "%s: %s\n", d.Name, harmless(d.Detail))
			if d.Remedy != "" {
				fmt.Fprintln(w, "        what to do:", harmless(d.Remedy))
			}
		}
	}
	for _, c := range b.HeldBack {
		fmt.Fprintln(w, heldBackText("connection", c.Name, c.Waiting, c.HeldBack))
	}
	if len(b.Loads) > 0 {
		fmt.Fprintln(tw, "\nTO CLICKHOUSE\tBEHIND\tLAG\tROWS HELD")
	}
	for _, l := range b.Loads {
		fmt.Fprintf(tw, "%s\t%d\t%s\t%d\n", l.Topic, l.Behind, seconds(l.LagSeconds), l.Rows)
	}
	return tw.Flush()
}

func number(n *int64) string {
	if n == nil {
		return "?"
	}
	return strconv.FormatInt(*n, 10)
}

// seconds is a duration in the unit that fits a glance.
func seconds(s float64) string {
	switch {
	case s < 10:
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	case s < 600:
		return strconv.FormatFloat(s, 'f', 0, 64) + " s"
	case s < 2*3600:
		return strconv.FormatFloat(s/60, 'f', 0, 64) + " min"
	case s < 48*3600:
		return strconv.FormatFloat(s/3600, 'f', 0, 64) + " h"
	default:
		return strconv.FormatFloat(s/86400, 'f', 0, 64) + " days"
	}
}

// wrap writes text beneath a row, broken at spaces.
func wrap(w io.Writer, text string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(wrapIndent)+len(line)+1+len(word) > wrapColumns {
			fmt.Fprintln(w, wrapIndent+line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	fmt.Fprintln(w, wrapIndent+line)
}
