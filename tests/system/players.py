#!/usr/bin/python3 -I
"""The players on the stage of `stagehand.py`: a Hub that makes calls, and strangers to its servers.

python3 players.py hub        as the Hub's account: commands on stdin, answers on stdout
python3 players.py stranger   prints "ready", and then the number of every signal that it gets

A command of the Hub's is a line of JSON: a list of calls that it makes at once, each with the
arguments of `call`. The answer is the list of what came back, and the log since the last one.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress


def be_the_hub() -> None:
    """Make calls, and die in one of them if told to.

    What it has open while it waits is closed then, as by a Hub that is killed.
    """
    log = deque(maxlen=20)
    log_end, log_pipe = os.pipe()
    threading.Thread(target=keep_lines, args=(log_end, log), daemon=True).start()
    for line in sys.stdin:
        calls = json.loads(line)
        with ThreadPoolExecutor(len(calls)) as pool:
            answers = list(pool.map(lambda how: call(log_pipe, **how), calls))
        print(json.dumps([*answers, {"log": list(log)}]), flush=True)
        log.clear()
        if calls[0]["end"] == "die once replied":
            die()


def keep_lines(descriptor: int, log: deque) -> None:
    """Read what mediators and servers log."""
    with os.fdopen(descriptor, errors="replace") as lines:
        for line in lines:
            log.append(line.rstrip("\n"))


def die() -> None:
    """Be gone, in the middle of whatever it is."""
    os.kill(os.getpid(), signal.SIGKILL)


def call(log_pipe: int, words: list[str], text: str, end: str, seconds: float) -> dict:
    """Run a command with this text as its stdin. `end` says what becomes of the Hub.

    reply               it reads all of stdout, and waits for the end of the command
    die unheard         it is killed before it has closed stdin
    die later           it is killed after so many seconds
    die once started    it is killed when it has read the first line, which is an event
    close once started  it closes stdout then, and waits for the end of the command
    die once replied    it is killed when it has read the first line, and passed it on
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log_pipe}
    process = subprocess.Popen(words, text=True, **pipes)
    # What refuses the command line reads no request.
    with suppress(BrokenPipeError), process.stdin as stdin:
        stdin.write(text)
        stdin.flush()
        if end == "die unheard":
            die()
    if end == "die later":
        # No wait for something: a moment of the sequence's own choice.
        threading.Event().wait(seconds)
        die()
    out = process.stdout
    lines = out.read().splitlines() if end == "reply" else [out.readline()]
    if end == "die once started":
        die()
    out.close()
    status = None if end == "die once replied" else process.wait()
    return {"lines": lines, "status": status}


def be_a_stranger() -> None:
    """Print the number of every signal."""
    signals = signal.valid_signals()
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    print("ready", flush=True)
    while True:
        print(int(signal.sigwait(signals)), flush=True)


{"hub": be_the_hub, "stranger": be_a_stranger}[sys.argv[1]]()
