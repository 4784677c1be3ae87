// @ts-check

/** Run once before programs: everything of Pyodide's is taken away, and what programs often import is there already. */
export const PREPARE = `
import sys, gc

def prepare():
    import bisect, cmath, collections, collections.abc, copy, dataclasses, datetime, decimal, enum, fractions, functools
    import hashlib, heapq, inspect, io, itertools, json, math, operator, os, queue, random, re, statistics, string, textwrap
    import time, traceback, typing, unicodedata

    theirs = {"js", "pyodide_js", "pyodide", "_pyodide", "_pyodide_core"}
    for name in [name for name in sys.modules if name.split(".")[0] in theirs]:
        del sys.modules[name]
    sys.meta_path[:] = [
        finder for finder in sys.meta_path
        if getattr(finder, "__module__", type(finder).__module__).split(".")[0] not in theirs
        and type(finder).__module__.split(".")[0] not in theirs
    ]
    import builtins
    for name in [name for name in vars(builtins) if name.startswith("___")]:
        delattr(builtins, name)
    os.environ.pop("_", None)
    random.seed(0)

prepare()
del prepare
gc.collect()
`;
