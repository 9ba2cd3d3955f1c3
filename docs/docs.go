// Package docs is the manual, embedded so that a program shows the pages of its own version.
package docs

import "embed"

// Files are the pages, by name.
//
//go:embed *.md
var Files embed.FS
