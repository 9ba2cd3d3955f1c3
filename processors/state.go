package processors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// EncodeState is the readable form of a state's bytes: JSON, which is the same for equal states as long as s holds no
// map whose order could vary. StateWriter has one that is much smaller and cheaper, for states of which there are many. what names the state in an error ("the state of an order").
func EncodeState(s any, what string) ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", what, err)
	}
	return b, nil
}

// DecodeState undoes EncodeState into a pointer. A field that this program does not know is an error: it was written
// by a newer one, and dropping it would lose what it says.
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
