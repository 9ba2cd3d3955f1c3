package cli_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/simulators/paypal"
)

// crm starts a simulated ActiveCampaign whose key is right-key. CRM becomes its address.
func crm(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: crm")
	}
	srv := httptest.NewServer(activecampaign.New(activecampaign.Options{Key: "right-key"}).Handler())
	ts.Defer(srv.Close)
	ts.Setenv("CRM", srv.URL)
}

// twin starts a simulated PayPal with one account (client id "client", secret "right") and writes its roots into a file.
// PAYPAL becomes its address and PAYPAL_HOST its host.
func twin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: twin ROOTS")
	}
	s, err := paypal.New(paypal.Options{
		Accounts: []paypal.Account{{Name: "eu", ClientID: "client", ClientSecret: "right", MerchantID: "LLCK5GYWKHPE2"}}, LocalWebhooks: true,
	})
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- s.ListenAndServe(ctx, "127.0.0.1:0", func(url string) { ready <- url }) }()
	ts.Defer(func() { cancel(); <-done; s.Close() })
	select {
	case url := <-ready:
		ts.Setenv("PAYPAL", url)
		ts.Setenv("PAYPAL_HOST", strings.TrimPrefix(url, "https://"))
	case err := <-done:
		done <- err
		ts.Fatalf("simulated paypal: %v", err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), s.TrustPEM(), 0o600))
}

// runs serves the file LIST as the /connections of a process, and sets NAME to its address.
func runs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: management NAME LIST")
	}
	list, mux := ts.ReadFile(args[1]), http.NewServeMux()
	mux.HandleFunc("GET /api/v1/connections", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, list) })
	srv := httptest.NewServer(mux)
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.Listener.Addr().String())
}
