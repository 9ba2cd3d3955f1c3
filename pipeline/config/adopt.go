package config

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// The folders that a running process follows, and where it keeps what must not stand in a file of a configuration.
const (
	ConnectionsFolder = "connections"
	// SecretsFolder holds one secret a file, for ${file:secrets/NAME}. Nothing in it is configuration.
	SecretsFolder = "secrets"
	// DisconnectedSuffix follows the file's name of a connection that is put aside: it is not read, and its name stays known.
	DisconnectedSuffix = ".disconnected"
)

// SecretReader reads the files of ${file:PATH} for the folder dir: a path into its secrets folder is meant from there,
// so that the folder can be moved or mounted elsewhere; any other as the process sees it.
func SecretReader(dir string) func(path string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if clean := filepath.ToSlash(filepath.Clean(path)); strings.HasPrefix(clean, SecretsFolder+"/") {
			b, err := os.ReadFile(filepath.Join(dir, clean))
			if err == nil || !os.IsNotExist(err) {
				return b, err
			}
		}
		return os.ReadFile(path)
	}
}

// WithConnections is c with the connections of next, and all else as it is in c, with the version of that mixture. rest
// says whether next differs from c in anything but connections.
func (c *Config) WithConnections(next *Config) (adopted *Config, rest bool) {
	mixed := *c
	mixed.Connections, mixed.Files = next.Connections, WithConnectionFiles(c.Files, next.Files)
	mixed.Version = versionOf(mixed.Files)
	return &mixed, !maps.Equal(WithConnectionFiles(c.Files, nil), WithConnectionFiles(next.Files, nil))
}
