//go:build !darwin && !linux

package embedded

func freeBytes(string) (uint64, error) { return 0, errNoFreeBytes }
