package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/pipeline/config"
)

// A process whose port has a certificate is asked over TLS, and one that is not trusted is not told the token.
func TestAPortWithACertificateIsAskedOverTLS(t *testing.T) {
	var asked []string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Authorization"))
		_, _ = w.Write([]byte(limitsAnswer))
	}))
	defer srv.Close()
	run := func() (string, string, int) {
		var out, errs bytes.Buffer
		code := Main(t.Context(), Process{
			Args: []string{"limits", "--address", srv.URL, "--token", "made-up"}, Getenv: func(string) (string, bool) { return "", false },
			Stdout: &out, Stderr: &errs, Now: func() time.Time { return limitsNow },
		})
		return out.String(), errs.String(), code
	}
	out, errs, code := run()
	if code != ExitCannotAsk || out != "" || !strings.Contains(errs, "SSL_CERT_FILE") || len(asked) > 0 {
		t.Errorf("its authority is unknown: code %d, %q, %q, asked %v", code, out, errs, asked)
	}
	own := managementPorts.next
	managementPorts.next = srv.Client().Transport
	defer func() { managementPorts.next = own }()
	out, errs, code = run()
	if code != ExitOK || out != limitsShown || len(asked) == 0 || asked[0] != "Bearer made-up" {
		t.Errorf("its authority is known: code %d, %q, %q, asked %v", code, out, errs, asked)
	}
}

func TestTheOwnPortHasTheSchemeOfItsConfiguration(t *testing.T) {
	plain := config.Management{Listen: "0.0.0.0:9080"}
	secure := plain
	secure.TLS = config.ManagementTLS{Cert: "a.pem", Key: "b.pem"}
	for _, test := range []struct {
		management config.Management
		want       string
	}{{plain, "http://127.0.0.1:9080/status"}, {secure, "https://127.0.0.1:9080/status"}} {
		list, err := (&asked{addresses: []string{ownPort(test.management)}}).resolve(Process{})
		if err != nil {
			t.Fatal(err)
		}
		if got := portURL(list[0], "/status"); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}
