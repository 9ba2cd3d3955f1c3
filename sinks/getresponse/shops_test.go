package getresponse

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// script answers by method and path, and counts.
type script struct {
	answers map[string]string
	asked   map[string]int
}

// RoundTrip implements http.RoundTripper.
func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	what := r.Method + " " + r.URL.Path
	s.asked[what]++
	body, ok := s.answers[what]
	status := http.StatusOK
	if !ok {
		status, body = http.StatusNotFound, `{"code":1013}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Totalpages": {"1"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func scripted(answers map[string]string) (*catalogue, *script) {
	s := &script{answers, map[string]int{}}
	now := func() time.Time { return time.Unix(1_700_000_000, 0) }
	return newCatalogue(&client{base: "http://x.example", key: schemas.NewSecret("k"), now: now, http: &http.Client{Transport: s}}, now), s
}

// TestListsThatLag: what was made and is not listed yet is not made again.
func TestListsThatLag(t *testing.T) {
	c, s := scripted(map[string]string{
		"GET /shops": `[]`, "POST /shops": `{"shopId":"s1"}`,
		"GET /shops/s1/products": `[]`, "POST /shops/s1/products": `{"productId":"p1","variants":[{"variantId":"v1"}]}`,
	})
	for range 3 {
		shop, fail := c.shop(t.Context(), "Payments", "EUR")
		if fail != nil || shop.id != "s1" {
			t.Fatalf("got %+v, %v", shop, fail)
		}
		if id, fail := c.variant(t.Context(), shop); fail != nil || id != "v1" {
			t.Fatalf("got %s, %v", id, fail)
		}
	}
	if s.asked["POST /shops"] != 1 || s.asked["POST /shops/s1/products"] != 1 {
		t.Errorf("got %v, want each made once", s.asked)
	}
}

// TestProductWithoutVariants is told, and no second one is made beside it.
func TestProductWithoutVariants(t *testing.T) {
	c, s := scripted(map[string]string{"GET /shops/s1/products": `[{"productId":"p1","externalId":"tillstream-payment","variants":[]}]`})
	if _, fail := c.variant(t.Context(), named{id: "s1"}); fail == nil || fail.kind != failReject || fail.remedy == "" {
		t.Errorf("got %v", fail)
	}
	if s.asked["POST /shops/s1/products"] != 0 {
		t.Error("a second product was made")
	}
}

// TestRoster: an id, a name in any case, the oldest of two, the one in its own case, and a word that is both.
func TestRoster(t *testing.T) {
	r := roster{rows: []named{{id: "a", name: "News"}, {id: "b", name: "news"}, {id: "c", name: "Other"}, {id: "Other2", name: "x"}, {id: "d", name: "Other2"}}}
	for word, want := range map[string]string{"a": "a", "News": "a", "news": "b", "NEWS": "a", "other": "c", "Other2": "clash", "A": "", "": ""} {
		found, ok, clash := r.find(word)
		got := found.id
		if clash {
			got = "clash"
		}
		if got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", word, got, ok, want)
		}
	}
}
