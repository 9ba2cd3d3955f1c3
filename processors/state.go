package processors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// DecodeState reads a state that was kept as JSON, as releases before the compact form did, into a pointer. A field that
// this program does not know is an error: it was written by a newer one, and dropping it would lose what it says. what
// names the state in an error ("the state of an order").
func DecodeState(b []byte, into any, what string) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	if dec.More() {
		return fmt.Errorf("decode %s: %w", what, errors.New("more bytes after its end"))
	}
	return nil
}
