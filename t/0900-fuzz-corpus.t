#!/bin/sh
# Each fuzz target takes every input of its corpus.
n=0
for corpus in "$SRCDIR"/fuzz/corpus/*; do
	n=$((n + 1))
	name=$(basename "$corpus")
	if out=$("$BUILDDIR/fuzz/$name" "$corpus"/* 2>&1); then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		echo "$out" | sed 's/^/# /'
	fi
done
echo "1..$n"
