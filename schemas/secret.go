package schemas

// Secret is a value that cannot be printed, logged or marshalled by accident. Reveal is the only way to its text.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text, for the one place that sends it.
func (s Secret) Reveal() string { return s.text }

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.text == "" }

// String prints three stars.
func (s Secret) String() string { return "***" }

// GoString prints three stars for %#v as well.
func (s Secret) GoString() string { return "***" }

// MarshalText prints three stars, for JSON, YAML and logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }
