package app

import (
	"net/http"

	"github.com/tillstream/tillstream/web"
)

// withPage puts the page beside the API on the management port.
func withPage(api http.Handler) (http.Handler, error) {
	page, err := web.Handler()
	if err != nil {
		return nil, err
	}
	return web.Beside(page, api), nil
}
