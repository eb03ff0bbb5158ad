// Command picture draws a terminal session as SVG. It runs each of its arguments in a shell, and shows the command with all of its output. It makes
// the README's picture, so that the picture shows a real run.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"os"
	"os/exec"
	"strings"
	"unicode/utf8"
)

const (
	lineHeight = 19
	charWidth  = 8.05
	margin     = 18
	bar        = 30 // height of the window's title bar
)

func main() {
	if err := draw(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

// draw writes the picture of the commands to out.
func draw(out io.Writer, commands []string) error {
	var lines []string
	for i, command := range commands {
		if i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, "$ "+command)
		printed, err := exec.CommandContext(context.Background(), "sh", "-c", command).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, printed)
		}
		for s := bufio.NewScanner(bytes.NewReader(printed)); s.Scan(); {
			lines = append(lines, wrap(strings.TrimRight(s.Text(), " "), 132)...)
		}
	}
	width := 0
	for _, line := range lines {
		width = max(width, utf8.RuneCountInString(line))
	}
	var svg strings.Builder
	w, h := int(float64(width)*charWidth)+2*margin, len(lines)*lineHeight+2*margin+bar
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="13.4">`+"\n", w, h, w, h)
	fmt.Fprintf(&svg, `<rect width="%d" height="%d" rx="9" fill="#16181d"/>`+"\n", w, h)
	for i, color := range []string{"#e0675f", "#dfb24f", "#6fb167"} {
		fmt.Fprintf(&svg, `<circle cx="%d" cy="%d" r="6" fill="%s"/>`+"\n", margin+4+20*i, bar/2+6, color)
	}
	for i, line := range lines {
		color := "#cfd3da"
		switch {
		case strings.HasPrefix(line, "$ "):
			color = "#8fd0ff"
		case strings.Contains(line, " · "):
			color = "#a5d6a0"
		}
		fmt.Fprintf(&svg, `<text x="%d" y="%d" fill="%s" xml:space="preserve" textLength="%.1f" lengthAdjust="spacingAndGlyphs">%s</text>`+"\n",
			margin, bar+margin+i*lineHeight+lineHeight/2, color, float64(utf8.RuneCountInString(line))*charWidth, html.EscapeString(line))
	}
	svg.WriteString("</svg>\n")
	_, err := io.WriteString(out, svg.String())
	return err
}

// wrap breaks a line at the last space before width runes.
func wrap(line string, width int) []string {
	var lines []string
	for utf8.RuneCountInString(line) > width {
		runes := []rune(line)
		cut := width
		for cut > 0 && runes[cut] != ' ' {
			cut--
		}
		if cut == 0 {
			cut = width
		}
		lines = append(lines, string(runes[:cut]))
		line = strings.TrimLeft(string(runes[cut:]), " ")
	}
	return append(lines, line)
}
