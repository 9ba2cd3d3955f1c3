package registry

import (
	"errors"
	"fmt"

	"github.com/twmb/avro"

	"github.com/tillstream/tillstream/schemas"
)

// ErrIncompatible is returned, wrapped, for a schema that cannot read what an earlier one wrote.
var ErrIncompatible = errors.New("schema is not backward compatible")

// Gate says whether next may be released: it must be able to read what each of the earlier schemas wrote, which is
// what registries call BACKWARD_TRANSITIVE. It asks no registry. The error names the earlier schema (counted
// from 1) and the field at fault.
func Gate(next string, earlier ...string) error {
	reader, err := avro.Parse(next)
	if err != nil {
		return fmt.Errorf("new schema: %w", err)
	}
	for i, text := range earlier {
		writer, err := avro.Parse(text)
		if err != nil {
			return fmt.Errorf("earlier schema %d: %w", i+1, err)
		}
		if err := avro.CheckCompatibility(writer, reader); err != nil {
			return fmt.Errorf("%w: what earlier schema %d wrote cannot be read: %w", ErrIncompatible, i+1, err)
		}
	}
	return nil
}

// GateReleases holds today's schemas against every released version. A record that was released may not go, since
// topics still carry it.
func GateReleases(releases []schemas.Release, today func(name string) (string, bool)) error {
	earlier := make(map[string][]string)
	for _, r := range releases {
		for name, text := range r.Schemas {
			earlier[name] = append(earlier[name], text)
		}
	}
	var errs []error
	for name, texts := range earlier {
		next, ok := today(name)
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %w: it was released and has no schema any more", name, ErrIncompatible))
			continue
		}
		if err := Gate(next, texts...); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
