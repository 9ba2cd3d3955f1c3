package schemas

import (
	"fmt"
	"io"
)

// Secret is a value that cannot be printed, logged or marshalled by accident. Reveal is the only way to its text.
// The zero value is the empty secret.
type Secret struct {
	// A pointer, since fmt asks no method of a secret in an unexported field: it would print the text, and
	// prints an address so.
	text *string
}

const stars = "***"

// NewSecret wraps text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text, for the one place that sends it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.text == nil }

// Equal reports whether both have the same text. Two secrets are not to be compared with ==.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// String prints three stars.
func (s Secret) String() string { return stars }

// GoString prints three stars for %#v as well.
func (s Secret) GoString() string { return stars }

// Format prints three stars for every other verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, stars) }

// MarshalText prints three stars, for JSON, YAML and logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(stars), nil }
