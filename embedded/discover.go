package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const addressFile = "dev.json"

// ErrNotRunning says that no process runs in the directory.
var ErrNotRunning = errors.New("nothing runs")

// Addresses are where a running process's parts listen; parts left out are
// empty.
type Addresses struct {
	PID   int      `json:"pid"`
	Kafka []string `json:"kafka,omitempty"`
	// Registry and ClickHouse are URLs, Redis is host and port.
	Registry   string `json:"registry,omitempty"`
	Redis      string `json:"redis,omitempty"`
	ClickHouse string `json:"clickhouse,omitempty"`
	// Database is ClickHouse's.
	Database string `json:"database,omitempty"`
}

func (s *Services) addresses() Addresses {
	a := Addresses{PID: os.Getpid(), Kafka: s.Brokers, Registry: s.RegistryURL, Redis: s.RedisAddr, ClickHouse: s.ClickHouseURL}
	if a.ClickHouse != "" {
		a.Database = Database
	}
	return a
}

// Discover finds the parts of the process that runs in dir. The error is
// ErrNotRunning when none does, also where one was killed and left its file.
func Discover(dir string) (Addresses, error) {
	held, err := running(dir)
	if err != nil {
		return Addresses{}, err
	}
	if !held {
		return Addresses{}, fmt.Errorf("%w in %s", ErrNotRunning, dir)
	}
	data, err := os.ReadFile(filepath.Join(dir, addressFile))
	if errors.Is(err, os.ErrNotExist) {
		return Addresses{}, fmt.Errorf("%w in %s yet: it is starting or stopping, try again", ErrNotRunning, dir)
	}
	if err != nil {
		return Addresses{}, fmt.Errorf("read the addresses of what runs in %s: %w", dir, err)
	}
	var a Addresses
	if err := json.Unmarshal(data, &a); err != nil {
		return Addresses{}, fmt.Errorf("read the addresses of what runs in %s: %w", dir, err)
	}
	return a, nil
}

// announce writes the file as a whole or not at all.
func announce(dir string, a Addresses) error {
	data, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the addresses: %w", err)
	}
	next := filepath.Join(dir, addressFile+".new")
	if err := os.WriteFile(next, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the addresses: %w", err)
	}
	if err := os.Rename(next, filepath.Join(dir, addressFile)); err != nil {
		return fmt.Errorf("write the addresses: %w", err)
	}
	return nil
}

func withdraw(dir string) error {
	err := os.Remove(filepath.Join(dir, addressFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the addresses: %w", err)
	}
	return nil
}
