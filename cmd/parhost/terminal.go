package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/parhost/parhost/internal/wire"
)

// streams are the command's standard streams.
//
// Much of what the command prints comes from others: file names, manifests, errors, the environment, joblogs. None of it may move the cursor, set the
// window's title, change the writing direction, or look like a message of this command. Therefore stdout and stderr are only reached through screens,
// which escape everything; TestNothingGoesPastTheScreens enforces this.
type streams struct {
	in  io.Reader
	out *screen
	err *screen

	status  *statusLine // nil if stderr is not a terminal
	outlets *outlets    // the outlets that out and err write to
}

// newStreams returns streams whose screens write to outlets, and above a status line if they are terminals.
func newStreams(stdin io.Reader, stdout, stderr io.Writer) *streams {
	s := &streams{in: stdin, outlets: openOutlets(stdout, stderr)}
	stdout, stderr, s.status = withStatusLine(s.outlets.out, s.outlets.err)
	s.out, s.err = &screen{stream: stdout}, &screen{stream: stderr}
	return s
}

// help wraps a function that shows the help of a command, so that the text goes to stdout in one write. Cobra would print a write error to stderr
// itself, but [run] prints all errors.
func (s *streams) help(show func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	return func(cmd *cobra.Command, args []string) {
		var text bytes.Buffer
		cmd.SetOut(&text)
		show(cmd, args)
		cmd.SetOut(s.out)
		_, _ = s.out.Write(text.Bytes()) // the outlet keeps a write error
	}
}

// say writes a message to stderr and ignores write errors, which have nobody to be reported to. Only the first line starts in the first column; say
// indents the others. So no text in args can look like a message of its own.
func (s *streams) say(format string, args ...any) {
	_, _ = s.err.messages().Write(fmt.Appendf(nil, format, args...))
}

// screen is stdout or stderr with escaping for terminals: line breaks and tabs stay, and all other characters that cannot be printed are escaped.
type screen struct {
	stream io.Writer
	escape func([]byte) []byte // nil means plainText
}

// Write escapes text and writes it. The text must not end within a UTF-8 sequence.
func (s *screen) Write(text []byte) (int, error) {
	escape := s.escape
	if escape == nil {
		escape = plainText
	}
	if _, err := s.stream.Write(escape(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// printf formats and writes text. It also escapes line breaks in the arguments, unless an argument is a layout.
func (s *screen) printf(format string, args ...any) error {
	words := make([]any, len(args))
	for i, arg := range args {
		words[i] = word{arg}
	}
	_, err := fmt.Fprintf(s, format, words...)
	return err
}

// messages returns a writer for messages. Each Write must be one message, with or without its last line break; lines after the first are indented.
func (s *screen) messages() io.Writer { return &screen{s.stream, plainMessage} }

// json returns a writer for lines of JSON. It escapes them without changing their meaning.
func (s *screen) json() io.Writer { return &screen{s.stream, plainJSON} }

// data returns the stream itself, without escaping. Results are written to it unchanged.
func (s *screen) data() io.Writer { return s.stream }

// file returns the file behind the stream, if there is one.
func (s *screen) file() (*os.File, bool) {
	f := fileOf(s.stream)
	return f, f != nil
}

// isTerminal reports whether the stream is a terminal.
func (s *screen) isTerminal() bool { return isTerminal(s.stream) }

// isPiped reports whether another program reads the stream.
func (s *screen) isPiped() bool {
	f, ok := s.file()
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0
}

// columnWidth returns the width of each of n text columns, if other columns take taken characters.
func (s *screen) columnWidth(n, taken int) int {
	width := 120
	if f, ok := s.file(); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			width = w
		}
	}
	return max(24, (width-taken)/n)
}

// cut cuts a line to a width, and returns how many columns it takes then.
func cut(line string, width int) (short string, columns int) {
	for i, r := range line {
		next := columns + text.RuneWidth(r)
		if next > width {
			return line[:i], columns
		}
		columns = next
	}
	return line, columns
}

// plainText escapes text for a terminal, line by line.
func plainText(text []byte) []byte {
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		lines[i] = wire.Plain(line)
	}
	return []byte(strings.Join(lines, "\n"))
}

// plainMessage escapes a message for a terminal and indents its lines after the first.
func plainMessage(text []byte) []byte {
	text = plainText(bytes.TrimRight(text, "\n"))
	return append(bytes.ReplaceAll(text, []byte("\n"), []byte("\n  ")), '\n')
}

// layout is a text of several lines in which all foreign text has been escaped already.
type layout string

// word is a value that stays within its line, whatever verb formats it.
type word struct{ value any }

func (w word) Format(f fmt.State, verb rune) {
	text := fmt.Sprintf(fmt.FormatString(f, verb), w.value)
	if _, is := w.value.(layout); !is {
		text = wire.Plain(text)
	}
	_, _ = io.WriteString(f, text)
}

// sheet is a table in the common style of this command. It escapes the text of its cells.
type sheet struct{ table table.Writer }

func newTable(header ...string) *sheet {
	w := table.NewWriter()
	w.SetStyle(table.StyleLight)
	w.Style().Options.DrawBorder = false
	w.Style().Options.SeparateColumns = false
	w.Style().Format.Header = text.FormatLower
	w.SuppressTrailingSpaces()
	if len(header) > 0 {
		w.AppendHeader(rowOf(header))
	}
	return &sheet{w}
}

// row appends a row.
func (s *sheet) row(cells ...any) { s.table.AppendRow(rowOf(cells)) }

func rowOf[T any](cells []T) table.Row {
	row := make(table.Row, len(cells))
	for i, cell := range cells {
		row[i] = fmt.Sprint(word{cell})
	}
	return row
}

// separator appends a line between rows.
func (s *sheet) separator() { s.table.AppendSeparator() }

// alignRight right-aligns columns, counted from 1.
func (s *sheet) alignRight(columns ...int) {
	s.columns(table.ColumnConfig{Align: text.AlignRight}, columns)
}

// wrap wraps the text of columns, counted from 1, at width characters.
func (s *sheet) wrap(width int, columns ...int) {
	s.columns(table.ColumnConfig{WidthMax: width, WidthMaxEnforcer: text.WrapSoft}, columns)
}

func (s *sheet) columns(config table.ColumnConfig, columns []int) {
	var configs []table.ColumnConfig
	for _, n := range columns {
		config.Number = n
		configs = append(configs, config)
	}
	s.table.SetColumnConfigs(configs)
}

// layout returns the whole table as text.
func (s *sheet) layout() layout { return layout(s.table.Render()) }
