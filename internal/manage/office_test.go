package manage_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/api"
	connectors "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/examples"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/manage"
	"github.com/tillstream/tillstream/pipeline/config"
	sinks "github.com/tillstream/tillstream/sinks/all"
)

const orders = "mappings/orders.yaml"

// office is one over the folder that 'tillstream init' writes.
func office(t *testing.T) *manage.Office {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "config")
	from, err := fs.Sub(examples.Config, "config")
	if err == nil {
		err = os.CopyFS(dir, from)
	}
	if err != nil {
		t.Fatal(err)
	}
	addresses := map[string]string{"ACTIVECAMPAIGN_URL": "https://crm.example", "ACTIVECAMPAIGN_EVENT_ACCOUNT": "1", "PUBLIC_URL": "https://shop.example"}
	known := func(name string) (string, bool) {
		if address, ok := addresses[name]; ok {
			return address, true
		}
		return "made-up", true
	}
	o := &manage.Office{
		Folder:  &config.Folder{Dir: dir, Kinds: app.Kinds()},
		Options: config.Options{Connectors: connectors.Connectors(), Sinks: sinks.Sinks(), Kinds: app.Kinds(), Getenv: known, Hostname: "here"},
		Now:     time.Now, Log: zerolog.Nop(),
	}
	if c, err := o.CheckConfig(context.Background(), api.ConfigTry{Offline: true}); err != nil || len(c.Refused) > 0 {
		t.Fatalf("the folder to begin with is refused: %v %+v", err, c.Refused)
	}
	return o
}

func text(t *testing.T, o *manage.Office, path string) api.ConfigText {
	t.Helper()
	f, err := o.ConfigFile(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// refused is the problem that an edit was refused with.
func refused(t *testing.T, err error, code api.Code) *api.Problem {
	t.Helper()
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Fatalf("got %v, want a problem with the code %s", err, code)
	}
	return p
}

// Of two people who edit one mapping the second learns what the first did, and nothing of either is lost.
func TestTwoPeopleEditOneMapping(t *testing.T) {
	o := office(t)
	read := text(t, o, orders)
	first := strings.Replace(read.Text, "ORDER_DATE", "DATE_OF_ORDER", 1)
	second := strings.Replace(read.Text, "CUSTOM_ID", "CUSTOMER_ID", 1)
	out, err := o.EditConfigFile(context.Background(), orders, &first, api.Edit{Match: read.ETag})
	if err != nil || !out.Written {
		t.Fatalf("the first: written %v, %v", out.Written, err)
	}
	_, err = o.EditConfigFile(context.Background(), orders, &second, api.Edit{Match: read.ETag})
	p := refused(t, err, api.CodeEdited)
	if p.Conflict == nil || p.Conflict.Text != first || !strings.Contains(p.Conflict.Diff, "CUSTOMER_ID") {
		t.Errorf("the second is told %+v, want the first's text and what differs", p.Conflict)
	}
	if got := text(t, o, orders); got.Text != first || got.ETag != p.Conflict.ETag {
		t.Error("the file is not as the first left it")
	}
}

func TestManyPeopleEditOneMappingAtOnce(t *testing.T) {
	o := office(t)
	read := text(t, o, orders)
	var mu sync.Mutex
	var written []string
	var group sync.WaitGroup
	for _, name := range []string{"A", "B", "C", "D", "E", "F"} {
		group.Go(func() {
			mine := strings.Replace(read.Text, "CUSTOM_ID", "CUSTOM_"+name, 1)
			out, err := o.EditConfigFile(context.Background(), orders, &mine, api.Edit{Match: read.ETag})
			mu.Lock()
			defer mu.Unlock()
			if out.Written {
				written = append(written, mine)
			} else if refused(t, err, api.CodeEdited).Conflict == nil {
				t.Error("one who lost is not told what is there")
			}
		})
	}
	group.Wait()
	if got := text(t, o, orders).Text; !slices.Equal(written, []string{got}) {
		t.Errorf("%d edits were written, and the file has one of them: %v", len(written), slices.Contains(written, got))
	}
}

// A file that is edited by hand while the page edits it is not overwritten.
func TestAFileThatIsEditedByHandMeanwhileIsKept(t *testing.T) {
	o := office(t)
	read := text(t, o, orders)
	byHand := "# mine\n" + read.Text
	if err := os.WriteFile(filepath.Join(o.Folder.Dir, orders), []byte(byHand), 0o600); err != nil {
		t.Fatal(err)
	}
	mapping, err := o.Mapping(context.Background(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	mapping.Mapping.Fields = mapping.Mapping.Fields[1:]
	_, err = o.EditMapping(context.Background(), "orders", &api.MappingEdit{Mapping: mapping.Mapping}, api.Edit{Match: read.ETag})
	refused(t, err, api.CodeEdited)
	if got := text(t, o, orders).Text; got != byHand {
		t.Errorf("the file is now:\n%s", got)
	}
}

// The page's forms change what they change: a person's comments and the rest of a file stay to the letter.
func TestAnEditByTheFormKeepsComments(t *testing.T) {
	o := office(t)
	mapping, err := o.Mapping(context.Background(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	mapping.Mapping.Fields = mapping.Mapping.Fields[1:]
	out, err := o.EditMapping(context.Background(), "orders", &api.MappingEdit{Mapping: mapping.Mapping}, api.Edit{Match: mapping.ETag})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(mapping.Text, "  - {to: ORDER_ID, from: order.id}\n", "", 1)
	if diff := cmp.Diff(out.Text, want); diff != "" || out.Text == mapping.Text {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestWhatWouldBreakTheConfigurationIsNotWritten(t *testing.T) {
	tests := []struct {
		name, path, text, says string
		line                   int
	}{
		{"no YAML", orders, "resource: checkout-order-approved\nfields: [\n", "", 2},
		{"a field that there is not", orders, "resource: checkout-order-approved\ndestination: crm\nfeilds: []\n", "feilds", 3},
		{"a destination that there is not", orders, "resource: checkout-order-approved\ndestination: nobody\nfields:\n  - {to: A, from: order.id}\n", "nobody", 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := office(t)
			was := text(t, o, test.path)
			_, err := o.EditConfigFile(context.Background(), test.path, &test.text, api.Edit{Match: was.ETag})
			p := refused(t, err, api.CodeConfigRefused)
			i := slices.IndexFunc(p.Problems, func(p api.ConfigProblem) bool {
				return p.File == test.path && p.Line == test.line && strings.Contains(p.Detail+p.Field, test.says)
			})
			if i < 0 {
				t.Errorf("problems %+v, want one of %s, line %d, about %q", p.Problems, test.path, test.line, test.says)
			}
			if got := text(t, o, test.path); got.Text != was.Text {
				t.Error("the file was changed")
			}
		})
	}
}

// Nothing but the configuration's own files can be read or written, whatever a path says.
func TestPathsLeadNowhereElse(t *testing.T) {
	o := office(t)
	secret := filepath.Join(filepath.Dir(o.Folder.Dir), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	something := "x: 1\n"
	for _, path := range []string{"../secret", "mappings/../../secret", secret, "mappings/.hidden.yaml", "notes.txt", "", "mappings"} {
		if f, err := o.ConfigFile(context.Background(), path); err == nil {
			t.Errorf("%q can be read: %q", path, f.Text)
		}
		if out, err := o.EditConfigFile(context.Background(), path, &something, api.Edit{New: true}); err == nil || out.Written {
			t.Errorf("%q can be written", path)
		}
	}
}

// What is exported is the folder byte for byte, and the same folder gives the same archive.
func TestAnExportIsTheFolder(t *testing.T) {
	o := office(t)
	out, err := o.ExportConfig(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	err = fs.WalkDir(os.DirFS(o.Folder.Dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var b []byte
			b, err = os.ReadFile(filepath.Join(o.Folder.Dir, path))
			want[path] = string(b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(out.Files, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	one, err := manage.Archive(out.Files)
	if err != nil {
		t.Fatal(err)
	}
	two, err := o.ExportArchive(context.Background(), "")
	if err != nil || string(one) != string(two) {
		t.Errorf("two archives of the same files differ (%v)", err)
	}
}

func TestAPlanNamesWhatDiffersAndFromWhenOnItCounts(t *testing.T) {
	o := office(t)
	was, err := o.Folder.Texts()
	if err != nil {
		t.Fatal(err)
	}
	is := map[string]string{}
	for path, text := range was {
		is[path] = text
	}
	is[orders] = strings.Replace(was[orders], "{to: COUNTRY, from: payer.address.country, as: country}", "{to: LAND, from: payer.address.country, as: country}", 1)
	delete(is, "workflows/vip.yaml")
	changes, files := manage.Plan(was, is)
	var got []string
	for _, c := range changes {
		got = append(got, strings.Join([]string{c.Action, c.Kind, c.Name, c.Counts}, " "))
	}
	want := []string{"added rule orders/LAND on_apply", "changed mapping orders on_apply", "removed rule orders/COUNTRY on_apply", "removed workflow vip on_apply"}
	slices.Sort(got)
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if len(files) != 2 {
		t.Errorf("%d files differ, want 2", len(files))
	}
	if same, none := manage.Plan(was, was); len(same)+len(none) != 0 {
		t.Errorf("a folder differs from itself: %v %v", same, none)
	}
}
