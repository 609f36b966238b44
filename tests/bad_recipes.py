"""Recipes that must be refused, each with the place and words of the message about it."""

GOOD = "name: m13\nanalysis: image_stats\ninputs:\n  files: data/*.fits\n"

# name: (text after GOOD, or bytes for a whole file; line:column key; words)
BAD = {
    # the file
    "empty": (b"", "1:1", "is empty"),
    "blank": (b"\n\n   \n", "1:1", "is empty"),
    "comments": (b"# nothing\n# here\n", "1:1", "is empty"),
    "only null": (b"---\nnull\n", "1:1", "is empty"),
    "list": (b"- a\n- b\n", "1:1", "holds a list"),
    "text": (b"hello\n", "1:1", "holds text"),
    "number": (b"42\n", "1:1", "holds a number"),
    "utf-16": ("name: a\n".encode("utf-16"), "1:1", "byte-order mark"),
    "byte-order mark": (b"\xef\xbb\xbfname: a\n", "1:1", "byte-order mark"),
    "latin-1": ("name: a\nanalysis: é\n".encode("latin-1"), "2:11", "is not UTF-8"),
    "binary": (bytes(range(256)), "2:118", "is not UTF-8"),
    "NUL": (b"name: a\x00b\n", "1:8", "control character"),
    "escape sequence": (b"name: \x1b[31m\n", "1:7", "control character"),
    "too large": (b"#" * 1_000_001, "1:1", "above the limit"),
    # the notation
    "tab": (b"name: a\ninputs:\n\tfiles: x\n", "3:1", "a tab in the indentation"),
    "second tab": (b"name: a\ninputs:\n  \tfiles: x\n", "3:3", "a tab in the indentation"),
    "duplicate": ("name: m14\n", "5:1", "'name' stands here again (first in line 1)"),
    "deep duplicate": ("options: {combine: {sigma: 1, sigma: 2}}\n", "5:31", "'sigma' stands here again"),
    "anchor": ("options: &o {}\n", "5:10", "anchor &o"),
    "alias": ("options: *o\n", "5:10", "alias *o"),
    "anchor bomb": (
        b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
        "1:4",
        "anchor &a is not allowed",
    ),
    "merge": ("<<: {keep_ledger: always}\n", "5:1", "merge keys"),
    "tag": ("options: !!map {}\n", "5:10", "the tag"),
    "python tag": ("options: !!python/object/apply:os.mkdir [pwned]\n", "5:10", "the tag"),
    "local tag": ("options: !include x\n", "5:10", "the tag !include"),
    "non-specific tag": ("options: ! x\n", "5:10", "the tag !"),
    "documents": ("---\nname: b\n", "5:1", "a second document"),
    "directive": (b"%YAML 1.1\n---\nname: a\n", "1:1", "directives"),
    "deep flow": ("options: " + "[" * 400 + "]" * 400 + "\n", "5:", "nested more than"),
    "deep block": ("".join("  " * i + "a:\n" for i in range(60)), "", "nested more than"),
    "many entries": (
        "options:\n" + "".join(f" a{i}: 1\n" for i in range(6_001)),
        "6001:7",
        "more than 12000 entries",
    ),
    "many commas": ("outputs: [" + "a, " * 30_000 + "]\n", "1:1", "more than 12000 commas"),
    "many lines": ("# x\n" * 30_000, "20001:1", "more than 20000 lines"),
    "open bracket": ("outputs: [a.fits\n", "5:10", "bracket"),
    "open quote": ("outputs: ['a.fits]\n", "5:11", "not closed"),
    "no colon": ("outputs\n", "5:1", "without ': '"),
    "two colons": ("outputs: a: b\n", "5:11", "': ' stands where none may"),
    "indentation": (b"name: a\n  analysis: b\n", "2:11", "': ' stands where none may"),
    "back to nowhere": (b"a:\n    b: 1\n  c: 2\n", "3:3", "indentation"),
    "reserved": ("outputs: @a\n", "5:10", "reserves"),
    "back-quote": ("outputs: `ls`\n", "5:10", "reserves"),
    "bad escape": ('outputs: ["\\q"]\n', "5:", "escape"),
    "NUL by escape": ('outputs: ["a\\0b"]\n', "5:11", "a NUL"),
    "list as key": ("? [a]\n: b\n", "5:3", "a key must be text"),
    "number as key": ("1: b\n", "5:1", "the key 1 is not text"),
    "empty key": ("? \n: b\n", "5:", "is not text"),
    "leading zero": ("options: {frame_stats: {sigma: 03}}\n", "5:32", "begins with a zero"),
    "overflow": ("options: {frame_stats: {sigma: 1e999}}\n", "5:32", "too large"),
    "long key": ("k" * 300 + ": 1\n", "5:1", "more than 200 characters"),
    "many words": ("# " + "x " * 70_000 + "\n", "1:1", "more than 60000 words"),
    # the recipe
    "unknown key": ("outpts: []\n", "5:1 outpts", "did you mean 'outputs'?"),
    "key of a profile": ("partition: long\n", "5:1 partition", "move it to a profile"),
    "key of the options": ("combine: {}\n", "5:1 combine", "indent it below options"),
    "missing keys": (b"inputs: {files: x}\n", "1:1 name", "is missing"),
    "name with blank": (b"name: m 13\nanalysis: image_stats\n", "1:7 name", "is not allowed"),
    "name of dots": (b"name: ../m13\nanalysis: image_stats\n", "1:7 name", "is not allowed"),
    "name too long": (b"name: " + b"m" * 65 + b"\nanalysis: image_stats\n", "1:7 name", "longer than 64"),
    "number as name": (b"name: 13\nanalysis: image_stats\n", "1:7 name", 'quote it: "13"'),
    "unknown analysis": (b"name: a\nanalysis: image_stat\n", "2:11 analysis", "did you mean 'image_stats'?"),
    "hostile analysis": (b"name: a\nanalysis: os;ls\n", "2:11 analysis", "is not allowed"),
    "empty options": ("options:\n", "5:", "is empty"),
    "options as list": ("options: [a]\n", "5:10 options", "write a mapping"),
    "keep_ledger": ("keep_ledger: until_don\n", "5:14 keep_ledger", "did you mean 'until_done'?"),
    # the outputs
    "output as text": ("outputs: a.fits\n", "5:10 outputs", "write a list"),
    "output above": ("outputs: [../a.fits]\n", "5:11 outputs[0]", "is not allowed"),
    "output inside above": ("outputs: [a/../../b.fits]\n", "5:11 outputs[0]", "is not allowed"),
    "output absolute": ("outputs: [/tmp/a.fits]\n", "5:11 outputs[0]", "is not allowed"),
    "output home": ("outputs: [~/a.fits]\n", "5:11 outputs[0]", "is not allowed"),
    "output with newline": ('outputs: ["a\\nb.fits"]\n', "5:11 outputs[0]", "is not allowed"),
    "output hidden": ("outputs: [.a.fits]\n", "5:11 outputs[0]", "is not allowed"),
    "output like an option": ("outputs: [-a.fits]\n", "5:11 outputs[0]", "is not allowed"),
    "output empty": ('outputs: [""]\n', "5:11 outputs[0]", "is not allowed"),
    "output suffix": ("outputs: [a.txt]\n", "5:11 outputs[0]", "known: .ecsv, .fits, .png"),
    "output twice": ("outputs: [a.fits, b.png, a.fits]\n", "5:26 outputs[2]", "stands here again"),
    "output file and folder": ("outputs: [a.fits, a.fits/b.png]\n", "5:19 outputs[1]", "a file and a folder"),
    # options and inputs of the analysis
    "unknown option": (
        "options:\n  combine:\n    sigm: 3\n",
        "7:5 options.combine.sigm",
        "did you mean 'sigma'?",
    ),
    "option as text": ("options: {frame_stats: {sigma: '3'}}\n", "options.frame_stats.sigma", "not a number"),
    "option yes": ("options: {combine: {weights: yes}}\n", "5:30 options.combine.weights", "true or false"),
    "option fraction": ("options: {combine: {maxiters: 2.5}}\n", "options.combine.maxiters", "whole number"),
    "option below": ("options: {combine: {sigma: -1}}\n", "options.combine.sigma", "above 0"),
    "option NaN": ("options: {combine: {sigma: .nan}}\n", "options.combine.sigma", "is not allowed"),
    "option choice": (
        "options: {combine: {method: meen}}\n",
        "options.combine.method",
        "did you mean 'mean'?",
    ),
    "option empty": ("options: {combine: {method: }}\n", "options.combine.method", "mean"),
    "option of a validator": ("options: {edges: [3, 1]}\n", "options.edges", "sort them"),
    "option in a list": ("options: {edges: [1, x]}\n", "5:22 options.edges[1]", "not a number"),
    "too few": ("options: {edges: [1]}\n", "5:18 options.edges", "at least 2"),
    "two sources": (
        b"name: a\nanalysis: image_stats\ninputs: {files: x, synthetic: {}}\n",
        "3:9 inputs",
        "keep one source",
    ),
    "files as number": (
        b"name: a\nanalysis: image_stats\ninputs: {files: 3}\n",
        "3:17 inputs.files",
        "not text or a list",
    ),
    "files as empty text": (
        b"name: a\nanalysis: image_stats\ninputs: {files: ['']}\n",
        "3:18 inputs.files[0]",
        "at least 1 char",
    ),
    "unknown input": (
        b"name: a\nanalysis: image_stats\ninputs: {file: x}\n",
        "3:10 inputs.file",
        "did you mean 'files'?",
    ),
}

# What is said where the analysis has other options than that of the unit tests: place and words.
SHIPPED = {
    "output suffix": ("5:11 outputs[0]", "'a.txt' has no known suffix"),
    "option yes": ("5:30 options.combine.weights", "'yes' is not known"),
    "option of a validator": ("5:11 options.edges", "unknown key 'edges'"),
    "option in a list": ("5:11 options.edges", "unknown key 'edges'"),
    "too few": ("5:11 options.edges", "unknown key 'edges'"),
    "two sources": ("3:9 inputs", "needs files, or synthetic frames"),
}


def written(path, name):
    """Write a bad recipe; return place and words of what the command line says about it."""
    text, *told = BAD[name]
    path.write_bytes(text if isinstance(text, bytes) else (GOOD + text).encode())
    return SHIPPED.get(name, told)
