package config

import (
	"testing"
	"time"
)

func TestClickHouseOverAClusterWithRetention(t *testing.T) {
	c, err := Load(folder(map[string]string{SettingsFile: goodSettings + "  cluster: main\n  flush_bytes: 1048576\n  retention: {events: 9600h, deliveries: 0s}\n"}), options())
	if err != nil {
		t.Fatal(err)
	}
	got := c.Settings.ClickHouse
	if got.Cluster != "main" || got.FlushBytes != 1<<20 || len(got.Retention) != 2 || got.Retention["events"] != 400*24*time.Hour || got.Retention["deliveries"] != 0 {
		t.Errorf("got %+v", got)
	}
}
