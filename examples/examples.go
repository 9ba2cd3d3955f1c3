// Package examples holds the commented configuration that 'tillstream init' writes.
package examples

import "embed"

// Config is the folder config.
//
//go:embed config
var Config embed.FS
