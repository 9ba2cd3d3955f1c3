package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	agelib "filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
)

func (p Process) secretsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "secrets", Short: "Encrypt secrets for the files of a configuration, and change their key without a gap",
		Long: `A secret may stand in a file as age:..., encrypted. Who runs the process holds the key: TILLSTREAM_AGE_KEY, or TILLSTREAM_AGE_KEY_FILE
with the name of a file. Several keys may stand there: to change the key, add the new one beside the old, run 'secrets rekey',
apply, and take the old one away. No command ever prints what a secret says.`,
	}
	c.AddCommand(p.secretsEncrypt(), p.secretsRekey())
	return group(c)
}

// sealers are who is to open what is encrypted: those named, else who holds the keys of the environment.
func (p Process) sealers(names []string) ([]agelib.Recipient, []agelib.Identity, error) {
	keys, err := config.Identities(p.Getenv)
	if err != nil {
		return nil, nil, err
	}
	to, err := config.ParseRecipients(names)
	if err != nil {
		return nil, nil, &codedError{ExitUsage, err}
	}
	if len(to) == 0 {
		to = config.RecipientsOf(keys)
	}
	if len(to) == 0 {
		return nil, nil, &codedError{ExitUsage, errors.New("nobody could open it: name a public key with --to, or set " + config.KeyVariable)}
	}
	return to, keys, nil
}

func (p Process) secretsEncrypt() *cobra.Command {
	var to []string
	var asJSON bool
	c := &cobra.Command{
		Use: "encrypt", Short: "Read a secret from standard input and print it encrypted", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			recipients, _, err := p.sealers(to)
			if err != nil {
				return err
			}
			b, err := io.ReadAll(io.LimitReader(p.Stdin, inputBytesMax))
			if err != nil {
				return fmt.Errorf("read the secret: %w", err)
			}
			secret := strings.TrimRight(string(b), "\r\n")
			if secret == "" {
				return &codedError{ExitUsage, errors.New("standard input holds no secret")}
			}
			text, err := config.Seal(secret, recipients)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(map[string]string{"sealed": text})
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), text)
			return err
		},
	}
	c.Flags().StringArrayVar(&to, "to", nil, "public key (age1...) that opens it; may be said several times")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

func (p Process) secretsRekey() *cobra.Command {
	var to []string
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use: "rekey", Short: "Encrypt every secret of the folder anew, for the keys named or for all that are known", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			recipients, keys, err := p.sealers(to)
			if err != nil {
				return err
			}
			folder := &config.Folder{Dir: dir, Kinds: app.Kinds()}
			texts, err := folder.Texts()
			if err != nil {
				return err
			}
			changes, tags, all := []config.Change{}, map[string]string{}, 0
			for path, text := range texts {
				again, n, err := config.Reseal(text, keys, recipients)
				if err != nil {
					return fmt.Errorf("%s: %w; nothing was written", path, err)
				}
				if n > 0 {
					all += n
					tags[path] = config.ETag(&text)
					changes = append(changes, config.Change{Path: path, Text: &again})
				}
			}
			if err := folder.Replace(changes, func(file string) string { return tags[file] }, nil); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(map[string]int{"secrets": all, "files": len(changes)})
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%d secrets in %d files are encrypted anew\n", all, len(changes))
			return err
		},
	}
	c.Flags().StringArrayVar(&to, "to", nil, "public key (age1...) that opens them from now on; may be said several times")
	c.Flags().StringVar(&dir, "config", "config", "folder of the configuration")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}
