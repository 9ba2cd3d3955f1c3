package sim

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
	Fault Fault
	Part  Part
}

func (w *world) hit(f Fault, p Part) { w.hits[Cell{f, p}]++ }
