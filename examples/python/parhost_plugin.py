"""Serves a Python function as a parhost plugin. It follows docs/PROTOCOL.md, whose sections the comments name.

    #!/usr/bin/env python3
    import math
    from parhost_plugin import serve

    serve(math.sqrt, name="sqrt", item_kind="float64", result_kind="float64", examples=[1, 4, 9])

Items run one after the other on the main thread: Python's lock lets no two run at once anyway, and only there can a cancelled or
overdue item be interrupted, by a signal. Interrupting works on Python code, sleeping and most waiting. It does not work on a C
function that does not come back: such an item ends when the host kills the process.
"""

import concurrent.futures
import datetime
import faulthandler
import json
import logging
import math
import os
import queue
import resource
import signal
import sys
import threading
import time
import traceback

import grpc

import worker_pb2 as pb
from parhost_values import BadItem, JSONCodec, codec, dump_json, schema_of

VERSION = 1
COOKIE = "7c5d1f7e-run-me-with-parhost"
MIB = 1 << 20
FLUSH_SECONDS = 0.02  # §5.3: settled items are sent on at least this often
FLUSH_BYTES = 1 * MIB


class Interrupted(BaseException):
    """Raised inside an item that was cancelled or is overdue. Not an Exception, so that `except Exception` lets it through."""


def serve(run, *, name, item_kind="json", result_kind="json", setup=None, teardown=None, **manifest):
    """Serves run(item) until the host ends the worker, and exits.

    Kinds are those of §3, without proto:NAME. setup() and teardown() are called once each. What else a manifest holds is given by
    its name in worker.proto: schemas as dicts, examples as values that JSON has.
    """
    if os.environ.get("PARHOST_PLUGIN") != COOKIE:  # §2.1
        print(f"{sys.argv[0]} is a parhost plugin. Run it with: parhost --plugin {sys.argv[0]}", file=sys.stderr)
        sys.exit(2)
    manifest["examples"] = [dump_json(example) for example in manifest.get("examples", ())]
    schemas = {
        "item_schema": json.dumps(manifest.pop("item_schema", schema_of(item_kind))),
        "result_schema": json.dumps(manifest.pop("result_schema", schema_of(result_kind))),
    }
    described = pb.Manifest(
        name=name, item_kind=item_kind, result_kind=result_kind, not_concurrent=True, sdk="parhost-python/0.1.0", **manifest
    )
    _Worker(run, setup, teardown, described, schemas).serve()


def metadata():
    """Returns what the host's caller says of the run that the running item belongs to, such as a trace or a tenant: a dict of strings."""
    if _Worker.served and (running := _Worker.served.running):
        return dict(running[0].batch.metadata)
    return {}


def deadline():
    """Returns when the caller gives up on that run, in seconds since 1970 as time.time() counts them; None if never."""
    if _Worker.served and (running := _Worker.served.running):
        return running[0].batch.deadline_unix_ns / 1e9 or None
    return None


def progress(fraction):
    """Tells the host how far the running item is, from 0 to 1."""
    if _Worker.served and (running := _Worker.served.running):
        job, place, _ = running
        _Worker.served.respond(progress=pb.Progress(batch=job.id, item=place, fraction=fraction))


class _Job:
    """A batch on its way. Everything but `canceled`, `overdue` and `more` belongs to the main thread."""

    def __init__(self, batch):
        self.batch, self.id, self.count = batch, batch.id, batch.count
        self.timeout = batch.item_timeout_ns / 1e9
        self.place = 0  # of the item that runs, or is to run next
        self.canceled = set()  # places; None stands for all
        self.overdue = -1  # the place of the item that passed its limit
        self.credit = batch.credit or math.inf  # bytes of results that may still be sent (§5.3)
        self.more = queue.SimpleQueue()  # credit that the host gives, None if the batch was cancelled
        self.stop = False  # hand back what has not begun

    def is_canceled(self):
        return bool(self.canceled) and (None in self.canceled or self.place in self.canceled)


_WAKE = object()


class _Worker:
    served = None  # the one of this process

    def __init__(self, run, setup, teardown, manifest, schemas):
        self.run, self.setup, self.teardown = run, setup, teardown
        self.manifest, self.schemas = manifest, schemas
        self.items, self.results = codec(manifest.item_kind), codec(manifest.result_kind)
        self.opened = threading.Lock()
        self.tasks = queue.SimpleQueue()  # from the stream: its Start, jobs, and None for its end
        self.responses = queue.SimpleQueue()  # to the stream: None ends it
        self.jobs = {}  # by id: those without their last Results
        self.running = None  # the item that runs: its job, its place, when it began. Replaced as a whole, for other threads
        self.armed = False  # the running item may be interrupted
        self.leaving = False
        self.watching = False
        _Worker.served = self

    # The process: handshake and end

    def serve(self):
        watch_host()
        signal.signal(signal.SIGINT, lambda *_: None)  # of the terminal; ending workers is the host's business
        signal.signal(signal.SIGTERM, self.on_terminate)
        signal.signal(signal.SIGUSR1, self.on_interrupt)
        faulthandler.enable()  # the last words of a crash in C
        faulthandler.register(signal.SIGQUIT, chain=True)  # and of an item that does not end (§5.5)
        limit = int(os.environ.get("PARHOST_MAX_ITEM_BYTES") or 64 * MIB) + 8 * MIB
        # One thread holds the stream, the others answer Describe and Stack.
        server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(4),
            options=[("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", -1)],
        )
        methods = {
            "Describe": grpc.unary_unary_rpc_method_handler(
                self.describe, pb.DescribeRequest.FromString, pb.DescribeResponse.SerializeToString
            ),
            "Work": grpc.stream_stream_rpc_method_handler(
                self.work, pb.WorkRequest.FromString, pb.WorkResponse.SerializeToString
            ),
            "Stack": grpc.unary_unary_rpc_method_handler(
                self.stack, pb.StackRequest.FromString, pb.StackResponse.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("parhost.v1.WorkerService", methods),))
        path = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "worker")
        forget_launch()
        server.add_insecure_port("unix:" + path)
        server.start()
        os.write(1, f"1|{VERSION}|unix|{path}|grpc|\n".encode())
        os.dup2(2, 1)  # what is printed from here on is a line of the log
        sys.stdout = sys.stderr
        self.live()
        self.responses.put(None)
        server.stop(1).wait()
        sys.exit(0)

    def on_terminate(self, *_):
        if self.leaving:
            os._exit(1)
        self.leaving = True
        self.tasks.put(_WAKE)

    # The stream, on gRPC's threads

    def describe(self, request, _context):
        manifest = pb.Manifest()
        manifest.CopyFrom(self.manifest)
        if request.schemas:
            manifest.MergeFrom(pb.Manifest(**self.schemas))
        return pb.DescribeResponse(manifest=manifest)

    def stack(self, _request, _context):
        names = {t.ident: t.name for t in threading.enumerate()}
        threads = []
        for ident, frame in sys._current_frames().items():
            threads.append(f"thread {names.get(ident, ident)}\n" + "".join(traceback.format_stack(frame)))
        return pb.StackResponse(text="\n".join(threads).encode()[: 256 * 1024])

    def work(self, requests, context):
        if not self.opened.acquire(blocking=False):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "a worker serves one Work stream in its life")
        threading.Thread(target=self.receive, args=(requests,), daemon=True).start()
        while (response := self.responses.get()) is not None:
            if isinstance(response, str):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, response)
            yield response

    def receive(self, requests):
        """Takes what the host says while the main thread runs items."""
        try:
            for request in requests:
                kind = request.WhichOneof("message")
                if kind == "batch":
                    job = self.jobs[request.batch.id] = _Job(request.batch)
                    self.tasks.put(job)
                elif kind == "cancel":
                    job = self.jobs.get(request.cancel.batch)
                    if job:  # else it is settled already
                        job.canceled.add(request.cancel.item if request.cancel.HasField("item") else None)
                        self.interrupt()
                        if None in job.canceled:
                            job.more.put(None)
                elif kind == "credit":
                    job = self.jobs.get(request.credit.batch)
                    if job:
                        job.more.put(request.credit)
                elif kind == "start":
                    self.tasks.put(request.start)
        except grpc.RpcError:  # the host is gone, or has done with us
            for job in list(self.jobs.values()):
                job.canceled.add(None)
                job.more.put(None)
            self.interrupt()
        finally:
            self.tasks.put(None)

    def respond(self, **message):
        self.responses.put(pb.WorkResponse(**message))

    # The work, on the main thread

    def live(self):
        start = self.tasks.get()
        if not isinstance(start, pb.Start):
            self.responses.put("the first request is not a Start")
            return
        self.max_result = start.max_result_bytes or math.inf
        open_log(self, start.worker)
        try:
            if self.setup:
                self.setup()
        except Exception as e:
            self.respond(ready=pb.Ready(error=bound("".join(traceback.format_exception(e)), 16 << 10)))
            return
        self.respond(ready=pb.Ready())
        for job in self.queue():
            _Batch(self, job).run()
        if self.teardown:
            self.teardown()

    def queue(self):
        """Yields the jobs until the host ends the stream or, after SIGTERM, has been quiet for a second (§5.8)."""
        patience = None
        while True:
            if self.leaving:
                patience = 1
            try:
                task = self.tasks.get(timeout=patience)
            except queue.Empty:
                return
            if task is None:
                return
            if task is not _WAKE:
                yield task

    def call(self, job, item):
        """Runs one item and returns its result, or raises what became of it."""
        if job.timeout and not self.watching:
            self.watching = True
            threading.Thread(target=self.watch, daemon=True).start()
        self.running = job, job.place, time.monotonic()
        self.armed = True
        try:
            if job.is_canceled():  # since the last look, when an interrupt would still have been lost
                raise Interrupted
            return self.run(item)
        finally:
            self.armed = False
            self.running = None

    # Interrupting an item

    def interrupt(self):
        """Makes the main thread look whether its item is to end."""
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    def on_interrupt(self, *_):
        if not self.armed or not self.running:
            return
        job, place, _ = self.running
        if job.is_canceled() or job.overdue == place:
            self.armed = False  # once for each item: what it does about it must be able to end
            raise Interrupted

    def watch(self):
        """Looks for items that pass their limit (§5.5)."""
        pause = 0.01
        while True:
            time.sleep(pause)
            if not (running := self.running) or not running[0].timeout:
                continue
            job, place, began = running
            left = began + job.timeout - time.monotonic()
            pause = min(max(left, 0.001), job.timeout, 0.05)
            if left <= 0 and job.overdue != place and self.running is running:
                job.overdue = place
                self.respond(overdue=pb.Overdue(batch=job.id, item=place))
                self.interrupt()


class _Batch:
    """Runs the items of one job and settles them."""

    def __init__(self, worker, job):
        self.worker, self.job = worker, job
        as_json = job.batch.format == pb.FORMAT_JSON
        self.items = JSONCodec(worker.items) if as_json else worker.items
        self.results = JSONCodec(worker.results) if as_json else worker.results
        self.settled = 0  # the place of the first item that is not settled
        self.sent = self.begun = time.monotonic()
        self.clear()

    def clear(self):
        self.values, self.errors, self.item_ns, self.usage, self.bytes = [], [], [], [], 0

    def run(self):
        job, worker, batch = self.job, self.worker, self.job.batch
        try:
            items = self.items.split(batch.items, job.count)
        except ValueError as e:
            for place in range(job.count):
                job.place = place
                self.fail(pb.KIND_BAD_ITEM, str(e))
            job.place = job.count
            self.flush(last=True)
            return
        budget = batch.budget_ns / 1e9 or math.inf
        now = self.begun
        while job.place < job.count and not worker.leaving and not job.stop and (job.place == 0 or now - self.begun < budget):
            used = used_so_far() if batch.usage else None
            began = time.perf_counter_ns()
            self.item(items[job.place])
            if batch.timed:
                self.item_ns.append(time.perf_counter_ns() - began)
            if batch.usage:
                fields = zip(("user_ns", "system_ns", "voluntary_switches", "forced_switches"), used, used_so_far())
                self.usage.append(pb.Usage(**{name: max(0, after - before) for name, before, after in fields}))
            job.place += 1
            now = time.monotonic()
            overdue = job.overdue == job.place - 1  # §5.5: its grace has begun
            if job.place < job.count and (overdue or now - self.sent >= FLUSH_SECONDS or self.bytes >= FLUSH_BYTES):
                self.flush(last=False)
        self.flush(last=True)

    def item(self, raw):
        job, worker = self.job, self.worker
        try:
            try:
                if job.is_canceled():
                    raise Interrupted
                item = self.items.decode(raw)
                value = worker.call(job, item)
                if job.overdue == job.place:
                    raise Interrupted
            except BadItem as e:
                return self.fail(pb.KIND_BAD_ITEM, str(e), offset=e.offset)
            except Exception as e:
                return self.fail(pb.KIND_FAILED, describe_exception(e), stack=traceback.format_exc())
        except Interrupted:
            if job.overdue == job.place:
                return self.fail(pb.KIND_TIMEOUT, f"still running after {job.timeout:g} s")
            return self.fail(pb.KIND_CANCELED, "item was canceled")
        except BaseException as e:  # SystemExit and its like: nobody knows what state it leaves behind
            worker.leaving = True
            return self.fail(pb.KIND_PANIC, describe_exception(e), stack=traceback.format_exc())
        try:
            value = self.results.encode(value)
        except Exception as e:
            return self.fail(pb.KIND_FAILED, f"result: {e}")
        if len(value) > worker.max_result:
            message = f"result is {len(value)} bytes, the limit is {worker.max_result}"
            return self.fail(pb.KIND_OVERSIZE, message, size=len(value))
        self.values.append(value)
        self.bytes += len(value) + 8

    def fail(self, kind, message, stack="", **fields):
        message, stack = bound(message, 16 << 10), bound(stack, 64 << 10)
        self.errors.append(pb.ItemError(item=self.job.place, kind=kind, message=message, stack=stack, **fields))
        self.values.append(bytes(self.results.width))
        self.bytes += 4 * (len(message) + len(stack)) + 64  # texts are measured in characters here

    def flush(self, last):
        job, now = self.job, time.monotonic()
        column = self.results.join(self.values)
        if not self.pay(len(column) + sum(len(e.message.encode()) + len(e.stack.encode()) for e in self.errors)):
            column = self.withhold()
        if last:  # before it is sent: a Cancel that comes now has nothing to do
            self.worker.jobs.pop(job.id, None)
        self.worker.respond(results=pb.Results(
            batch=job.id, **{"from": self.settled}, count=len(self.values), values=column, errors=self.errors,
            item_ns=self.item_ns, item_usage=self.usage, max_rss_bytes=max_rss() if self.usage else 0, run_ns=int((now - self.sent) * 1e9), last=last, leaving=last and self.worker.leaving,
        ))
        self.settled, self.sent = job.place, now
        self.clear()

    def pay(self, size):
        """Waits until the host has room for so many bytes, and returns whether it has: if not, or if the batch is cancelled, the items are
        too (§5.3)."""
        job = self.job
        while job.credit < size:
            if None in job.canceled:  # the host answers no question any more
                return False
            self.worker.respond(need=pb.Need(batch=job.id, bytes=size - job.credit))
            more = job.more.get()
            if more is None:
                return False
            job.credit += more.bytes
            job.stop = job.stop or more.stop
            if more.drop:
                return False
        job.credit -= size
        return True

    def withhold(self):
        """Makes cancelled items of those that the host has no room for, and returns their column."""
        count = len(self.values)
        self.errors = [
            pb.ItemError(item=self.settled + i, kind=pb.KIND_CANCELED, message="item was canceled") for i in range(count)
        ]
        return self.results.join([bytes(self.results.width)] * count)


# Words


def used_so_far():
    """Returns the CPU time in user mode and in the kernel, in nanoseconds, and the context switches, voluntary and forced, of this process
    and of those that it has waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return [
        int((own.ru_utime + children.ru_utime) * 1e9), int((own.ru_stime + children.ru_stime) * 1e9),
        own.ru_nvcsw + children.ru_nvcsw, own.ru_nivcsw + children.ru_nivcsw,
    ]


def max_rss():
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def bound(text, limit):
    """Cuts a text to a number of bytes, at a whole character."""
    raw = text.encode(errors="replace")
    return raw.decode() if len(raw) <= limit else raw[:limit].decode(errors="ignore")


def describe_exception(e):
    return "".join(traceback.format_exception_only(e)).strip()


class _LogLines(logging.Handler):
    """Writes records as the lines that a host reads as hclog's (§7)."""

    def __init__(self, worker, number):
        super().__init__()
        self.worker, self.number = worker, number

    def emit(self, record):
        level = {"WARNING": "warn", "CRITICAL": "error"}.get(record.levelname, record.levelname.lower())
        when = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line = {"@level": level, "@message": record.getMessage(), "@timestamp": when.isoformat(), "@module": record.name}
        line["worker"] = self.number
        if running := self.worker.running:
            line["item"] = running[0].batch.first + running[1]
        print(json.dumps(line, separators=(",", ":")), file=sys.stderr, flush=True)


def open_log(worker, number):
    levels = {"trace": logging.DEBUG, "debug": logging.DEBUG, "warn": logging.WARNING, "error": logging.ERROR, "off": 100}
    root = logging.getLogger()
    root.setLevel(levels.get(os.environ.get("PARHOST_LOG_LEVEL"), logging.INFO))
    root.addHandler(_LogLines(worker, number))


def forget_launch():
    """Keeps programs that the workload starts from taking themselves for workers (§2.1)."""
    for key in ("PARHOST_ARENA_FD", "PARHOST_BUFFERS_FD"):  # not used here (§2.2)
        if number := os.environ.pop(key, None):
            os.close(int(number))
    for key in list(os.environ):
        if key in ("PARHOST_PLUGIN", "PARHOST_WORKLOAD", "PARHOST_ALIVE_FD") or key.startswith("PLUGIN_"):
            del os.environ[key]


def watch_host():
    """Ends this process, and those that it started, when the host is gone (§2.2)."""
    number = os.environ.get("PARHOST_ALIVE_FD")
    if not number:
        return
    alive = int(number)
    os.set_inheritable(alive, False)

    def wait():
        while os.read(alive, 1):
            pass
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
