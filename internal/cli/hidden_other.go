//go:build !linux

package cli

import (
	"errors"
	"os"
)

// canHide reports false: a secret is given by --secret here.
func canHide(*os.File) bool { return false }

func hidden(*os.File, func() error) error {
	return errors.New("what is typed cannot be hidden on this system: give the secret by --secret")
}
