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
// Much of what the command says is the words of others: names of files, manifests, errors, the environment, joblogs. None of it may move the
// cursor, set the window's title, turn the direction of writing, or pass for a line of this command. So stdout and stderr are reached through
// screens alone, which escape whatever is written; TestNothingGoesPastTheScreens keeps it so.
type streams struct {
	in  io.Reader
	out *screen
	err *screen

	status  *statusLine // nil if stderr is no terminal
	outlets *outlets    // which out and err lead to
}

// newStreams returns streams whose screens write to outlets, and above a status line where they lead to a terminal.
func newStreams(stdin io.Reader, stdout, stderr io.Writer) *streams {
	s := &streams{in: stdin, outlets: openOutlets(stdout, stderr)}
	stdout, stderr, s.status = withStatusLine(s.outlets.out, s.outlets.err)
	s.out, s.err = &screen{stream: stdout}, &screen{stream: stderr}
	return s
}

// help wraps a function that shows the help of a command, so that the text goes to stdout in one write. Cobra would print an error of that write to
// stderr, but [run] prints all errors.
func (s *streams) help(show func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	return func(cmd *cobra.Command, args []string) {
		var text bytes.Buffer
		cmd.SetOut(&text)
		show(cmd, args)
		cmd.SetOut(s.out)
		_, _ = s.out.Write(text.Bytes()) // the outlet keeps the error
	}
}

// say writes a message to stderr. If that fails there is nobody left to tell. Its first line begins with words of format, the others are
// indented: no text that is put into format can look like a message of its own.
func (s *streams) say(format string, args ...any) {
	_, _ = s.err.messages().Write(fmt.Appendf(nil, format, args...))
}

// screen is stdout or stderr as a terminal may show it: line breaks and tabs stay, and all else that cannot be printed is escaped.
type screen struct {
	stream io.Writer
	escape func([]byte) []byte // nil is plainText
}

// Write writes text. A rune must not be cut in two.
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

// printf writes words with arguments that stay within their lines: their line breaks are escaped as well, unless they are a layout.
func (s *screen) printf(format string, args ...any) error {
	words := make([]any, len(args))
	for i, arg := range args {
		words[i] = word{arg}
	}
	_, err := fmt.Fprintf(s, format, words...)
	return err
}

// messages returns the screen for messages, of which each is written at once, with or without its last line break: lines after the first
// one are indented.
func (s *screen) messages() io.Writer { return &screen{s.stream, plainMessage} }

// json returns the screen for lines of JSON, whose meaning stays what it was.
func (s *screen) json() io.Writer { return &screen{s.stream, plainJSON} }

// data returns the stream itself, without escaping. Results are written to it as they are, and so is the status line.
func (s *screen) data() io.Writer { return s.stream }

// file returns the file that the stream is, if it is one.
func (s *screen) file() (*os.File, bool) {
	f := fileOf(s.stream)
	return f, f != nil
}

// isTerminal reports whether the stream is a terminal.
func (s *screen) isTerminal() bool { return isTerminal(s.stream) }

// columnWidth is how wide each of n columns of words may be, beside taken characters of others.
func (s *screen) columnWidth(n, taken int) int {
	width := 120
	if f, ok := s.file(); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			width = w
		}
	}
	return max(24, (width-taken)/n)
}

// plainText escapes text for a terminal, line by line.
func plainText(text []byte) []byte {
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		lines[i] = wire.Plain(line)
	}
	return []byte(strings.Join(lines, "\n"))
}

// plainMessage escapes a message for a terminal, and indents the lines after the first.
func plainMessage(text []byte) []byte {
	text = plainText(bytes.TrimRight(text, "\n"))
	return append(bytes.ReplaceAll(text, []byte("\n"), []byte("\n  ")), '\n')
}

// layout is a text of several lines whose foreign words have been escaped.
type layout string

// word is a value that takes no more than its place in a line, however it is formatted.
type word struct{ value any }

func (w word) Format(f fmt.State, verb rune) {
	text := fmt.Sprintf(fmt.FormatString(f, verb), w.value)
	if _, is := w.value.(layout); !is {
		text = wire.Plain(text)
	}
	_, _ = io.WriteString(f, text)
}

// sheet is a table in the looks of all tables of this command. What stands in a cell stays there.
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

// alignRight aligns columns, counted from 1.
func (s *sheet) alignRight(columns ...int) {
	s.columns(table.ColumnConfig{Align: text.AlignRight}, columns)
}

// wrap breaks the lines of columns, counted from 1, that are wider than so many characters.
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

// layout returns the whole table.
func (s *sheet) layout() layout { return layout(s.table.Render()) }
