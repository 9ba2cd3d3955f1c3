//go:build !synctests

package load

const clientInBubble = false
