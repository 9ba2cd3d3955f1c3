package schemas_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/schemas"
)

func TestRootKeyRoundTrip(t *testing.T) {
	key := schemas.RootKey(schemas.Sandbox, "shop", "I-1/2")
	env, connection, id, ok := schemas.SplitRootKey(key)
	if env != schemas.Sandbox || connection != "shop" || id != "I-1/2" || !ok {
		t.Errorf("SplitRootKey(%q) = %q, %q, %q, %t", key, env, connection, id, ok)
	}
	if _, _, _, ok := schemas.SplitRootKey("sandbox/shop"); ok {
		t.Error("a key of two parts is taken for a root key")
	}
}

func TestContactKey(t *testing.T) {
	for _, tt := range []struct {
		payer *schemas.Payer
		want  string
	}{
		{nil, ""},
		{&schemas.Payer{}, ""},
		{&schemas.Payer{Email: " Ann.B+x@Example.COM ", PayerID: "P1"}, "live/ann.b+x@example.com"},
		{&schemas.Payer{Email: "  ", PayerID: "P1"}, "live/payer:P1"},
	} {
		if got := schemas.ContactKey(schemas.Live, tt.payer); got != tt.want {
			t.Errorf("ContactKey(%+v) = %q, want %q", tt.payer, got, tt.want)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := schemas.NewSecret("hunter2")
	asJSON, err := json.Marshal(map[string]any{"a": s, "b": &s, "c": []schemas.Secret{s}})
	if err != nil {
		t.Fatal(err)
	}
	// Fmt asks no method of a value in an unexported field, nor for a verb such as %d.
	hidden := &struct {
		s    schemas.Secret
		list []schemas.Secret
	}{s, []schemas.Secret{s}}
	texts := []string{string(asJSON)}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%d", "%x", "%X", "%t"} {
		if got := fmt.Sprintf(verb, s); got != "***" {
			t.Errorf("%s prints %s, want ***", verb, got)
		}
		texts = append(texts, fmt.Sprintf(verb, &s), fmt.Sprintf(verb, hidden), fmt.Sprintf(verb, *hidden))
	}
	for _, text := range texts {
		if strings.Contains(text, "hunter2") || strings.Contains(strings.ToLower(text), "68756e74657232") {
			t.Errorf("the secret is printed: %s", text)
		}
	}
	if s.Reveal() != "hunter2" || s.Empty() {
		t.Error("the secret is lost")
	}
	if !s.Equal(schemas.NewSecret("hunter2")) || s.Equal(schemas.Secret{}) || !schemas.NewSecret("").Empty() {
		t.Error("secrets are not compared by their text")
	}
}
