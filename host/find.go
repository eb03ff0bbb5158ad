package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// executablePrefix begins the name of each plugin's executable.
const executablePrefix = "parhost-plugin-"

// PathEnv is the variable that lists folders of plugins, in the format of PATH.
const PathEnv = "PARHOST_PLUGIN_PATH"

// Find returns the path of a plugin's executable. A name that contains a path separator is itself the path. Any other name is looked for as parhost-plugin-NAME
// in dirs, in the folders of PARHOST_PLUGIN_PATH, beside this program, and in the user's data folder.
//
// If there is none, the error matches [ErrNotFound] and says where Find looked.
func Find(name string, dirs ...string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) || strings.Contains(name, "/") {
		return executable(name)
	}
	dirs = SearchDirs(dirs...)
	for _, dir := range dirs {
		path := filepath.Join(dir, executablePrefix+name+exeSuffix())
		if _, err := os.Stat(path); err == nil {
			return executable(path)
		}
	}
	return "", fmt.Errorf("%w: %q: no %s%s in %s", ErrNotFound, name, executablePrefix, name, strings.Join(dirs, ", "))
}

// Installed returns the paths of the plugins in the folders in which [Find] looks, by name. If several folders have a plugin, the first folder wins.
func Installed(dirs ...string) map[string]string {
	found := map[string]string{}
	for _, dir := range slices.Backward(SearchDirs(dirs...)) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // a missing folder has no plugins
		}
		for _, e := range entries {
			name, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), exeSuffix()), executablePrefix)
			if path, err := executable(filepath.Join(dir, e.Name())); ok && err == nil {
				found[name] = path
			}
		}
	}
	return found
}

// SearchDirs returns the folders in which [Find] looks, in the order of the search.
func SearchDirs(dirs ...string) []string {
	all := slices.Clone(dirs)
	for _, dir := range filepath.SplitList(os.Getenv(PathEnv)) {
		if dir != "" {
			all = append(all, dir)
		}
	}
	if self, err := os.Executable(); err == nil {
		all = append(all, filepath.Dir(self))
	}
	if dir := dataDir(); dir != "" {
		all = append(all, filepath.Join(dir, "parhost", "plugins"))
	}
	return all
}

// dataDir returns the user's folder for the data of programs, or "" if there is none.
func dataDir() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	switch runtime.GOOS {
	case "windows":
		return os.Getenv("LOCALAPPDATA")
	case "darwin":
		return filepath.Join(home, "Library", "Application Support")
	default:
		return filepath.Join(home, ".local", "share")
	}
}

// executable checks that path is a file that can be executed, and returns its absolute path.
func executable(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: %q does not exist", ErrNotFound, path)
	case err != nil:
		return "", err
	case info.IsDir():
		return "", fmt.Errorf("%w: %q is a folder", ErrNotFound, path)
	case runtime.GOOS != "windows" && !info.Mode().IsRegular(): // Windows has aliases of programs, which are not regular files
		return "", fmt.Errorf("%w: %q is no plain file but has mode %v", ErrNotFound, path, info.Mode())
	case runtime.GOOS != "windows" && info.Mode()&0o111 == 0:
		return "", fmt.Errorf("%w: %q is not executable (chmod +x?)", ErrNotFound, path)
	}
	return filepath.Abs(path)
}

func exeSuffix() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}
