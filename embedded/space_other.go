//go:build !darwin && !linux

package embedded

import "errors"

// errNoFreeBytes says that this platform is not asked for its free space.
var errNoFreeBytes = errors.New("free space is not known on this platform")

func freeBytes(string) (uint64, error) { return 0, errNoFreeBytes }
