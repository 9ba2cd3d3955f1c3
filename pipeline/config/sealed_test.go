package config_test

import (
	"errors"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/sinks"
)

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func sealed(t *testing.T, secret string, to ...*age.X25519Identity) string {
	t.Helper()
	var list []age.Identity
	for _, id := range to {
		list = append(list, id)
	}
	text, err := config.Seal(secret, config.RecipientsOf(list))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// load loads a folder whose Redis password is this text, with this key in the environment.
func load(password, key string) (string, error) {
	c, err := config.LoadTexts("", map[string]string{
		config.SettingsFile: "kafka: {brokers: [\"k:9092\"]}\nregistry: {url: http://r}\nredis: {address: \"r:1\", password: '" + password + "'}\n",
	}, config.Options{
		Connectors: connectors.NewRegistry(), Sinks: sinks.NewRegistry(),
		Getenv: func(name string) (string, bool) { return key, name == config.KeyVariable && key != "" },
	})
	if err != nil {
		return "", err
	}
	return c.Settings.Redis.Password.Reveal(), nil
}

func TestASealedSecretIsOpenedAtTheLoad(t *testing.T) {
	old, young, strange := identity(t), identity(t), identity(t)
	secret := sealed(t, "tops3cret", old)
	for name, c := range map[string]struct{ key, want, problem string }{
		"its key":                  {old.String(), "tops3cret", ""},
		"one of several":           {"# new\n" + young.String() + "\n# old\n" + old.String() + "\n", "tops3cret", ""},
		"no key":                   {"", "", "is encrypted and no key is known"},
		"another's key":            {strange.String(), "", "encrypted for another key"},
		"something that is no key": {"AGE-SECRET-KEY-1NONE", "", "is none"},
	} {
		got, err := load(secret, c.key)
		var problems config.Problems
		switch {
		case c.problem == "" && (err != nil || got != c.want):
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		case c.problem != "" && (!errors.As(err, &problems) || !strings.Contains(err.Error(), c.problem) || problems[0].Field != "redis.password" || problems[0].Line != 3):
			t.Errorf("%s: got %v, want a problem of redis.password on line 3 that says %q", name, err, c.problem)
		}
		if err != nil && (strings.Contains(err.Error(), "tops3cret") || c.key != "" && strings.Contains(err.Error(), c.key)) {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
}

func TestADamagedSecretIsAProblemAndNoValue(t *testing.T) {
	id := identity(t)
	good := sealed(t, "tops3cret", id)
	for _, bad := range []string{"age:", "age:!!", good[:len(good)-8], good[:40] + "AAAA" + good[44:], "age:AAAA"} {
		if got, err := load(bad, id.String()); err == nil {
			t.Errorf("%s: got %q", bad, got)
		}
	}
}

func TestKeysAreRotatedWithoutAGap(t *testing.T) {
	old, young := identity(t), identity(t)
	text := "redis:\n  password: " + sealed(t, "one", old) + " # of the cache\nregistry:\n  password: \"" + sealed(t, "two", old) + "\"\n"
	keys := []age.Identity{young, old}
	again, n, err := config.Reseal(text, keys, config.RecipientsOf([]age.Identity{young}))
	if err != nil || n != 2 {
		t.Fatalf("%d sealed anew, %v", n, err)
	}
	if strings.Count(again, "\n") != strings.Count(text, "\n") || !strings.Contains(again, " # of the cache\n") {
		t.Errorf("more than the secrets changed:\n%s", again)
	}
	for _, word := range config.FindSealed(again) {
		if _, err := config.Unseal(word, []age.Identity{old}); err == nil {
			t.Error("the old key opens it still")
		}
	}
	var got []string
	for _, word := range config.FindSealed(again) {
		secret, err := config.Unseal(word, []age.Identity{young})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, secret)
	}
	if diff := cmp.Diff([]string{"one", "two"}, got); diff != "" {
		t.Error(diff)
	}
	if same, n, err := config.Reseal("a: 1 # age is a number\n", keys, config.RecipientsOf(keys)); err != nil || n != 0 || same != "a: 1 # age is a number\n" {
		t.Errorf("a text without secrets: %q, %d, %v", same, n, err)
	}
	if _, _, err := config.Reseal(text, []age.Identity{young}, config.RecipientsOf(keys)); err == nil {
		t.Error("a secret that no key opens is sealed anew")
	}
}

func TestAnySecretComesBackWhole(t *testing.T) {
	id := identity(t)
	rapid.Check(t, func(r *rapid.T) {
		secret := rapid.String().Draw(r, "secret")
		text, err := config.Seal(secret, []age.Recipient{id.Recipient()})
		if err != nil || secret != "" && len(secret) > 3 && strings.Contains(text, secret) {
			r.Fatalf("%q, %v", text, err)
		}
		if got, err := config.Unseal(text, []age.Identity{id}); err != nil || got != secret {
			r.Fatalf("got %q, %v, want %q", got, err, secret)
		}
	})
}
