package codec

import "github.com/tillstream/tillstream/schemas"

// emptyToNil makes every empty array, map and byte string of a decoded record nil: Avro cannot tell the two apart, so
// neither may a program that reads the record. The test walks all records by reflection, so that a new field
// cannot be forgotten here.
func emptyToNil(rec schemas.Record) {
	switch r := rec.(type) {
	case *schemas.OrderEvent:
		emptyEvent(r)
	case *schemas.Transition:
		emptyEvent(&r.Event)
	case *schemas.Command:
		nilMap(&r.Contact.Fields)
		nilSlice(&r.Contact.Tags)
		nilSlice(&r.Contact.NoTags)
		nilSlice(&r.Issues)
		nilSlice(&r.Reasons)
		if r.Effect != nil {
			nilMap(&r.Effect.Arguments)
		}
	case *schemas.Delivery:
		nilSlice(&r.Requests)
	case *schemas.DeadLetter:
		nilSlice(&r.Key)
		nilSlice(&r.Value)
	case *schemas.ConfigVersion:
		nilMap(&r.Files)
	case *schemas.SourceProgress:
		nilSlice(&r.Feeds)
		nilSlice(&r.Hours)
		nilSlice(&r.Offsets)
	case *schemas.JobRequest:
		nilMap(&r.Filter)
	case *schemas.Job:
		nilMap(&r.Filter)
		nilSlice(&r.Positions)
	case *schemas.DeliveryProgress:
		nilSlice(&r.Progress)
	}
}

func emptyEvent(e *schemas.OrderEvent) {
	nilSlice(&e.Links)
	nilSlice(&e.DeliveryIDs)
	nilMap(&e.Fields)
	nilMap(&e.Headers)
	nilSlice(&e.Body)
}

func nilSlice[T any](s *[]T) {
	if len(*s) == 0 {
		*s = nil
	}
}

func nilMap(m *map[string]string) {
	if len(*m) == 0 {
		*m = nil
	}
}
