package jobs

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"

	"github.com/tillstream/tillstream/schemas"
)

// StageLoader is the stage whose letters are about rows that ClickHouse refused. It reads the same records as other
// stages do, so that the id of its letter may be that of another.
const StageLoader = "clickhouse"

// ItemOf is the name of a dead letter as an item of jobs.
func ItemOf(d *schemas.DeadLetter) string {
	if d.Stage == StageLoader {
		return StageLoader + "/" + d.ID
	}
	return d.ID
}

// variable are the parts of a reason that differ between letters of one cause, in the order in which they are taken out.
// ClickHouse computes the same key with the same expressions (migration 0005_jobs.sql): change none without the other.
var variable = []*regexp.Regexp{
	regexp.MustCompile(`"[^"]*"`),
	regexp.MustCompile(`[^\s"@<>()]+@[^\s"@<>()]+`),
	regexp.MustCompile(`https?://\S+`),
	regexp.MustCompile(`[A-Za-z0-9_.:/-]*[0-9][A-Za-z0-9_.:/-]*`),
}

// variableSign stands for what was taken out.
const variableSign = "*"

// reasonBytesMax is how much of a reason decides.
const reasonBytesMax = 300

// ReasonPattern is a reason without what differs between letters of one cause: quoted values, addresses, ids, numbers.
func ReasonPattern(reason string) string {
	for _, v := range variable {
		reason = v.ReplaceAllString(reason, variableSign)
	}
	return reason[:min(len(reason), reasonBytesMax)]
}

// PlaceOf is where a letter's cause is to be looked for: the destination, else environment and connection, else the topic.
func PlaceOf(d *schemas.DeadLetter) string {
	connection := ""
	if env, name, _, ok := schemas.SplitRootKey(d.RootKey); ok {
		connection = string(env) + "/" + name
	}
	return cmp.Or(d.Destination, connection, d.Topic)
}

// IssueKey groups the letters of one cause: who made them, the code, the place, and the reason's pattern.
func IssueKey(d *schemas.DeadLetter) string {
	sum := sha256.Sum256([]byte(d.Stage + "\n" + d.Cause + "\n" + PlaceOf(d) + "\n" + ReasonPattern(d.Reason)))
	return hex.EncodeToString(sum[:5])
}
