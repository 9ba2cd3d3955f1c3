//go:build synctests

package pipeline

const clientInBubble = true
