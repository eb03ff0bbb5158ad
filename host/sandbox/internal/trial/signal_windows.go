package trial

import "golang.org/x/sys/windows"

// signal opens the process with the right to end it, and does not use that right.
func signal(pid int) error {
	h, err := windows.OpenProcess(windows.PROCESS_TERMINATE, false, uint32(pid))
	if err != nil {
		return err
	}
	return windows.CloseHandle(h)
}
