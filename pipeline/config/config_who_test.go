package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// No list of alias domains is another thing than an empty one: the first leaves the choice to the program.
func TestWordsAboutTheCustomer(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		domains []string
		custom  string
	}{
		"nothing said": {"", nil, CustomIDOrder},
		"no domains":   {"stages:\n  alias_domains: []\n", []string{}, CustomIDOrder},
		"own words":    {"stages:\n  alias_domains: [relay.example]\n  custom_id: customer\n", []string{"relay.example"}, CustomIDCustomer},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Load(folder(map[string]string{SettingsFile: goodSettings + c.text}), options())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.domains, got.Settings.Stages.AliasDomains); diff != "" || got.Settings.Stages.CustomID != c.custom {
				t.Errorf("custom id %q, want %q; alias domains (-want +got):\n%s", got.Settings.Stages.CustomID, c.custom, diff)
			}
		})
	}
}
