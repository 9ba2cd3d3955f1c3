package sim

import (
	"fmt"
	"strings"
)

// Fault is a row of the fault matrix, Part a column.
type (
	Fault string
	Part  string
)

// The faults.
const (
	Crash     Fault = "crash"
	Pause     Fault = "pause"
	Partition Fault = "partition"
	Slow      Fault = "slow"
	Unknown   Fault = "unknown outcome"
	Duplicate Fault = "duplicate"
	Reorder   Fault = "reorder"
	Clock     Fault = "clock ±"
	Rollback  Fault = "data rollback"
	Wipe      Fault = "wipe"
	DiskFull  Fault = "disk full"
	Garbage   Fault = "garbage reply"
)

// The parts.
const (
	PartIngest     Part = "ingest"
	PartProcessor  Part = "processor"
	PartLog        Part = "Kafka log"
	PartGroup      Part = "group coordinator"
	PartTxn        Part = "txn coordinator"
	PartRedis      Part = "Redis"
	PartCRM        Part = "CRM"
	PartClickHouse Part = "ClickHouse"
	PartRegistry   Part = "registry"
	PartConfig     Part = "config store"
)

// Cell is one fault in one part.
type Cell struct {
	Fault Fault `json:"fault"`
	Part  Part  `json:"part"`
}

func (w *world) hit(f Fault, p Part) { w.hits[Cell{f, p}]++ }

var (
	faultRows   = []Fault{Crash, Pause, Partition, Slow, Unknown, Duplicate, Reorder, Clock, Rollback, Wipe, DiskFull, Garbage}
	partColumns = []Part{PartIngest, PartProcessor, PartLog, PartGroup, PartTxn, PartRedis, PartCRM, PartClickHouse, PartRegistry, PartConfig}
)

// none are the cells that make no sense at these seams, with the reason. A Part of "" is the whole row, a Fault of ""
// the whole column; a cell of its own comes before both.
var none = map[Cell]string{
	{"", PartConfig}:   "the configuration is a topic that each process reads for itself; see the tests of pipeline/config/versions",
	{"", PartRegistry}: "schemas are asked for inside Encode and Decode, which either have them or say that they cannot now",

	{Pause, ""}:              "a server that stands still is one that does not answer: see slow and partition",
	{Slow, PartIngest}:       "a slow process is one with many short pauses: see pause",
	{Slow, PartProcessor}:    "a slow process is one with many short pauses: see pause",
	{Unknown, PartProcessor}: "nobody asks a processor for anything",
	{Reorder, PartProcessor}: "what a processor sends is ordered by whom it sends to",

	{Clock, ""}: "its clock is not seen: it measures durations only",

	{Rollback, ""}:            "it holds no data of ours, or none that we could bring back",
	{Wipe, ""}:                "it holds no data of ours, or none that we could bring back",
	{DiskFull, PartIngest}:    "it writes no disk",
	{DiskFull, PartProcessor}: "it writes no disk",
	{DiskFull, PartGroup}:     "its disks are those of the log",
	{DiskFull, PartTxn}:       "its disks are those of the log",
	{Garbage, PartProcessor}:  "nobody reads what a processor answers",
	{Garbage, PartGroup}:      "its answers are checked by the client, below the seam",
}

// sensible are the cells that make sense although their row or column does not.
var sensible = map[Cell]bool{
	{Crash, PartRegistry}: true, {Partition, PartRegistry}: true,
	{Crash, PartConfig}: true, {Partition, PartConfig}: true, {Garbage, PartConfig}: true,
	{Pause, PartIngest}: true, {Pause, PartProcessor}: true,
	{Clock, PartIngest}: true, {Clock, PartProcessor}: true, {Clock, PartLog}: true,
	{Rollback, PartLog}: true, {Rollback, PartGroup}: true, {Rollback, PartRedis}: true,
	{Wipe, PartLog}: true, {Wipe, PartGroup}: true, {Wipe, PartRedis}: true,
}

// WhyNot is the reason for which a cell makes no sense; empty: it does.
func WhyNot(c Cell) string {
	if sensible[c] {
		return ""
	}
	for _, k := range []Cell{c, {"", c.Part}, {c.Fault, ""}} {
		if why := none[k]; why != "" {
			return why
		}
	}
	return ""
}

// Missing lists the sensible cells that no seed met.
func Missing(hits map[Cell]int) (cells []Cell) {
	for _, f := range faultRows {
		for _, p := range partColumns {
			if c := (Cell{f, p}); hits[c] == 0 && WhyNot(c) == "" {
				cells = append(cells, c)
			}
		}
	}
	return cells
}

// Table is the matrix in Markdown: hits per cell, or the number of the note that says why there are none.
func Table(hits map[Cell]int) string {
	var b strings.Builder
	b.WriteString("| fault |")
	for _, p := range partColumns {
		fmt.Fprintf(&b, " %s |", p)
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(partColumns)) + "\n")
	var notes []string
	numbers := map[string]int{}
	for _, f := range faultRows {
		fmt.Fprintf(&b, "| %s |", f)
		for _, p := range partColumns {
			c := Cell{f, p}
			why := WhyNot(c)
			if why == "" {
				fmt.Fprintf(&b, " %d |", hits[c])
				continue
			}
			if numbers[why] == 0 {
				notes = append(notes, why)
				numbers[why] = len(notes)
			}
			fmt.Fprintf(&b, " (%d) |", numbers[why])
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, why := range notes {
		fmt.Fprintf(&b, "(%d) %s.  \n", i+1, why)
	}
	return b.String()
}
