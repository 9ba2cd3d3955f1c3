package connections

import "github.com/tillstream/tillstream/pipeline/config"

// What follows lets another desk keep its files in the same folder: one change at a time, every change validated with all
// else before it is written, and files written whole.

// Alone runs f while nobody else changes the folder through this desk.
func (d *Desk) Alone(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return f()
}

// LoadWith loads the folder as it would be with other texts in some files (nil: without the file) and with these secrets,
// by their paths in it.
func (d *Desk) LoadWith(files map[string]*string, secrets map[string]string) (*config.Config, error) {
	return d.load(files, secrets)
}

// WriteFile writes a file of the folder for its owner only, whole or not at all.
func (d *Desk) WriteFile(file, text string) error { return d.write(file, text) }

// Path is where a file of the folder lies.
func (d *Desk) Path(file string) string { return d.path(file) }

// Refuse makes a refusal.
func Refuse(kind RefusalKind, format string, args ...any) *Refusal {
	return refuse(kind, format, args...)
}

// ValidName reports whether a name can be that of a connection or a destination.
func ValidName(name string) bool { return nameForm.MatchString(name) }
