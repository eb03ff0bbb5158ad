package sandbox

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"golang.org/x/sys/windows"
)

// job is a job object. It counts, limits and ends a process together with all processes that it starts. They end when the last handle is closed,
// which is the host's.
type job struct{ handle windows.Handle }

// Flags and kinds of information that x/sys/windows lacks (winnt.h).
const (
	cpuRateEnable  = 1
	cpuRateHardCap = 4

	allProcessorGroups = 0xffff
)

// cpuRate is JOBOBJECT_CPU_RATE_CONTROL_INFORMATION with its union used as a rate.
type cpuRate struct{ flags, rate uint32 }

// openJob creates a job object with a box's limits.
func openJob(p *Policy, processes int) (_ *job, err error) {
	h, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make a job object: %w", err)
	}
	j := &job{h}
	defer func() {
		if err != nil {
			j.close()
		}
	}()
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	basic := &limits.BasicLimitInformation
	// Without DIE_ON_UNHANDLED_EXCEPTION a fault shows a window, and the process waits until somebody closes it.
	basic.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | windows.JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION
	if p.MemoryBytes > 0 {
		basic.LimitFlags |= windows.JOB_OBJECT_LIMIT_JOB_MEMORY
		limits.JobMemoryLimit = uintptr(p.MemoryBytes)
	}
	if processes > 0 {
		basic.LimitFlags |= windows.JOB_OBJECT_LIMIT_ACTIVE_PROCESS
		basic.ActiveProcessLimit = uint32(processes)
	}
	if err := set(j, windows.JobObjectExtendedLimitInformation, &limits); err != nil {
		return nil, fmt.Errorf("limits of a job object: %w", err)
	}
	if p.CPUs > 0 {
		all := float64(windows.GetActiveProcessorCount(allProcessorGroups))
		rate := cpuRate{cpuRateEnable | cpuRateHardCap, uint32(math.Round(min(max(p.CPUs/all, 0.0001), 1) * 10_000))} // in units of 0.01 percent of all CPUs
		if err := set(j, windows.JobObjectCpuRateControlInformation, &rate); err != nil {
			return nil, fmt.Errorf("Policy.CPUs is %v: %w", p.CPUs, err)
		}
	}
	if p.Level > Off && !inJob() {
		// Workers must not use the clipboard or the windows of other programs, and must not end the session.
		ui := windows.JOBOBJECT_BASIC_UI_RESTRICTIONS{UIRestrictionsClass: windows.JOB_OBJECT_UILIMIT_DESKTOP | windows.JOB_OBJECT_UILIMIT_DISPLAYSETTINGS | windows.JOB_OBJECT_UILIMIT_EXITWINDOWS |
			windows.JOB_OBJECT_UILIMIT_GLOBALATOMS | windows.JOB_OBJECT_UILIMIT_HANDLES | windows.JOB_OBJECT_UILIMIT_READCLIPBOARD | windows.JOB_OBJECT_UILIMIT_SYSTEMPARAMETERS | windows.JOB_OBJECT_UILIMIT_WRITECLIPBOARD}
		if err := set(j, windows.JobObjectBasicUIRestrictions, &ui); err != nil {
			return nil, fmt.Errorf("keep a job object from the desktop: %w", err)
		}
	}
	return j, nil
}

var isProcessInJob = windows.NewLazySystemDLL("kernel32.dll").NewProc("IsProcessInJob")

// inJob reports whether this process is in a job object. If it is, the processes that it starts are in it too, and their own job is nested. A nested
// job cannot restrict access to the desktop.
func inJob() bool {
	var in uint32
	ok, _, _ := isProcessInJob.Call(uintptr(windows.CurrentProcess()), 0, uintptr(unsafe.Pointer(&in)))
	return ok == 0 || in != 0
}

func set[T any](j *job, class uint32, info *T) error {
	var pin runtime.Pinner // the address would be stale if the stack grew and moved
	pin.Pin(info)
	defer pin.Unpin()
	_, err := windows.SetInformationJobObject(j.handle, class, uintptr(unsafe.Pointer(info)), uint32(unsafe.Sizeof(*info)))
	return err
}

// take puts a process that was started suspended into the job and lets it run.
func (j *job) take(pid int) (err error) {
	process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(pid))
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer func() { err = errors.Join(err, windows.CloseHandle(process)) }()
	if err := windows.AssignProcessToJobObject(j.handle, process); err != nil {
		return fmt.Errorf("put process %d into a job object: %w", pid, err)
	}
	return resume(pid)
}

// resume resumes all threads of a process: its first one, and any that others have created in it.
func resume(pid int) (err error) {
	snapshot, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	defer func() { err = errors.Join(err, windows.CloseHandle(snapshot)) }()
	resumed := 0
	entry := windows.ThreadEntry32{Size: uint32(unsafe.Sizeof(windows.ThreadEntry32{}))}
	for err = windows.Thread32First(snapshot, &entry); err == nil; err = windows.Thread32Next(snapshot, &entry) {
		if entry.OwnerProcessID != uint32(pid) {
			continue
		}
		thread, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, entry.ThreadID)
		if err != nil {
			return fmt.Errorf("open thread %d of process %d: %w", entry.ThreadID, pid, err)
		}
		_, err = windows.ResumeThread(thread)
		if err = errors.Join(err, windows.CloseHandle(thread)); err != nil {
			return fmt.Errorf("resume thread %d of process %d: %w", entry.ThreadID, pid, err)
		}
		resumed++
	}
	if !errors.Is(err, windows.ERROR_NO_MORE_FILES) {
		return fmt.Errorf("list threads: %w", err)
	}
	if resumed == 0 {
		return fmt.Errorf("process %d has no thread", pid)
	}
	return nil
}

// kill ends all processes of the job.
func (j *job) kill() { _ = windows.TerminateJobObject(j.handle, 1) }

// peak returns the most memory that all processes of the job have used together, in bytes.
func (j *job) peak() int64 {
	limits := new(windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION)
	var pin runtime.Pinner
	pin.Pin(limits)
	defer pin.Unpin()
	if err := windows.QueryInformationJobObject(j.handle, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(limits)), uint32(unsafe.Sizeof(*limits)), nil); err != nil {
		return 0
	}
	return int64(limits.PeakJobMemoryUsed)
}

// close closes the job's last handle, which ends the processes that are left in it.
func (j *job) close() { _ = windows.CloseHandle(j.handle) }
