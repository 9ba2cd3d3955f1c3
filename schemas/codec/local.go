package codec

import (
	"fmt"

	"github.com/tillstream/tillstream/schemas"
)

// NewLocal returns a codec that needs no registry: the records have the ids 1, 2, 3... in the order of
// schemas.Records. For tests and tools; what it writes can be read by another local codec only.
func NewLocal() *Codec {
	c, err := New(localIDs{})
	if err != nil {
		panic("codec: the embedded schemas are broken: " + err.Error())
	}
	return c
}

type localIDs struct{}

func (localIDs) ID(recordName string) (int, error) {
	for i, rec := range schemas.Records() {
		if rec.RecordName() == recordName {
			return i + 1, nil
		}
	}
	return 0, fmt.Errorf("record %s: %w", recordName, ErrUnknownSchema)
}

func (localIDs) Schema(id int) (string, error) {
	records := schemas.Records()
	if id < 1 || id > len(records) {
		return "", fmt.Errorf("local id %d: %w", id, ErrUnknownSchema)
	}
	text, _ := schemas.AVSC(records[id-1].RecordName())
	return text, nil
}
