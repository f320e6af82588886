#!/usr/bin/perl
# The kv commands: what they ask, what they print, how they exit.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use FakeAgent;
use File::Temp ();
use MIME::Base64 qw(encode_base64);
use Test::More;

my $binary = join '', map { chr } 0 .. 255;
sub entry
{
	my ($key, $value, $more) = @_;
	my $v = length $value ? '"' . encode_base64($value, '') . '"' : 'null';

	return qq({"LockIndex":3,"Key":"$key","Flags":18446744073709551615,"Value":$v,"CreateIndex":11,"ModifyIndex":12) . ($more // '') . '}';
}
my $a = FakeAgent->new(
	'GET /v1/kv/a' => sub { $_[0]{query} =~ /recurse/ ? '[' . entry('a', 'one') . ',' . entry('a/b', '') . ']' :
	    $_[0]{query} =~ /keys/ ? '["a","a/"]' : '[' . entry('a', 'one') . ']' },
	'GET /v1/kv/bin' => '[' . entry('bin', $binary) . ']',
	'GET /v1/kv/locked' => '[' . entry('locked', 'x', ',"Session":"5b7a3b34-0000-0000-0000-000000000000"') . ']',
	'GET /v1/kv/a%20b%3Fc/%25' => '[' . entry('odd', 'odd') . ']',
	'GET /v1/kv/broken' => [500, "No cluster leader\n"],
	'GET /v1/kv/garbage' => '[{"Key":',
	'GET /v1/kv/' => sub { $_[0]{query} =~ /recurse/ ? '[' . entry('z', 'last') . ']' : '[]' },
	'PUT /v1/kv/a' => sub { $_[0]{query} =~ /cas=5|acquire=bad|release=bad/ ? 'false' : "true\n" },
	'PUT /v1/kv/big' => [413, 'Request body(1000000 bytes) too large, max size: 524288 bytes.'],
	'PUT /v1/kv/z' => 'true',
	'PUT /v1/kv/pre/z' => 'true',
	'DELETE /v1/kv/a' => sub { $_[0]{query} =~ /cas=5/ ? 'false' : 'true' },
	'DELETE /v1/kv/' => 'true',
	'DELETE /v1/kv/denied' => [403, 'Permission denied'],
);
my $o = { addr => $a->addr };

sub is_run
{
	my ($name, $args, $code, $out, $err, $opts) = @_;
	my @got = ctl({ %$o, %{$opts // {}} }, @$args);

	is_deeply(\@got, [$code, $out, $err], $name) or diag explain \@got;
}

# get
is_run('get prints the value and a newline', [qw(kv get a)], 0, "one\n", '');
is_run('a leading slash is stripped', [qw(kv get /a)], 0, "one\n", '');
is_run('bytes come out as they are', [qw(kv get bin)], 0, "$binary\n", '');
is_run('get -base64', [qw(kv get -base64 a)], 0, "b25l\n", '');
is_run('a missing key', [qw(kv get nothing)], 1, '', "Error! No key exists at: nothing\n");
is_run('no key', [qw(kv get)], 1, '', "Error! Missing KEY argument\n");
is_run('two keys', [qw(kv get a b)], 1, '', "Too many arguments (expected 1, got 2)\n");
is_run('odd characters in a key', ['kv', 'get', 'a b?c/%'], 0, "odd\n", '');
is_run('a failing server', [qw(kv get broken)], 1, '', "Error querying Consul agent: Unexpected response code: 500 (No cluster leader)\n");
like((ctl($o, qw(kv get garbage)))[2], qr/^Error querying Consul agent: /, 'an answer that is no JSON');
is_run('get -detailed', [qw(kv get -detailed a)], 0, <<'EOT', '');
CreateIndex      11
Flags            18446744073709551615
Key              a
LockIndex        3
ModifyIndex      12
Session          -
Value            one
EOT
like((ctl($o, qw(kv get -detailed locked)))[1], qr/^Session +5b7a3b34-0000-0000-0000-000000000000$/m, 'the session of a locked key');
is_run('get -recurse', [qw(kv get -recurse a)], 0, "a:one\na/b:\n", '');
is_run('get -recurse of everything', [qw(kv get -recurse)], 0, "z:last\n", '');
is_run('get -recurse -base64', [qw(kv get --recurse --base64=true a)], 0, "a:b25l\na/b:\n", '');
is_run('get -recurse of nothing', [qw(kv get -recurse nothing)], 0, '', '');
like((ctl($o, qw(kv get -recurse -detailed a)))[1], qr/Value +one\n\nCreateIndex/, 'an empty line between detailed entries');
is_run('get -keys', [qw(kv get -keys a)], 0, "a\na/\n", '');
like(($a->requests)[-1]{query}, qr/separator=%2F/, 'keys are cut at the separator');
ctl($o, qw(kv get -stale -datacenter dc7 a));
is(($a->requests)[-1]{query}, 'dc=dc7&stale=', 'datacenter and staleness are sent');

# put
is_run('put', [qw(kv put a value)], 0, "Success! Data written to: a\n", '');
is(($a->requests)[-1]{body}, 'value', 'the value is the body');
is_run('put nothing', [qw(kv put a)], 0, "Success! Data written to: a\n", '');
is(($a->requests)[-1]{body}, '', 'no DATA is an empty value');
is_run('put from the standard input', [qw(kv put a -)], 0, "Success! Data written to: a\n", '', { stdin => $binary });
is(($a->requests)[-1]{body}, $binary, 'as bytes');
my $file = File::Temp->new;
spew("$file", "line\0\n");
is_run('put a file', ['kv', 'put', 'a', "\@$file"], 0, "Success! Data written to: a\n", '');
is(($a->requests)[-1]{body}, "line\0\n", 'whole');
is_run('put a missing file', [qw(kv put a @/nowhere/x)], 1, '', "Error! Failed to read file: open /nowhere/x: no such file or directory\n");
is_run('put -base64', [qw(kv put -base64 a AAH/)], 0, "Success! Data written to: a\n", '');
is(($a->requests)[-1]{body}, "\0\1\xff", 'decoded');
is((ctl($o, qw(kv put -base64 a A!)))[0], 1, 'bad base64 is not written');
is_run('put without a key', [qw(kv put)], 1, '', "Error! Missing KEY argument\n");
is_run('put too much', [qw(kv put a b c)], 1, '', "Error! Too many arguments (expected 1 or 2, got 3)\n");
is_run('a number that begins with a dash', [qw(kv put a -5)], 0, "Success! Data written to: a\n", '');
is_run('-cas', [qw(kv put -cas -modify-index=12 a x)], 0, "Success! Data written to: a\n", '');
is(($a->requests)[-1]{query}, 'cas=12', 'with the index');
is_run('-cas of what has changed', [qw(kv put -cas -modify-index 5 a x)], 1, '', "Error! Did not write to a: CAS failed\n");
is_run('-cas without an index', [qw(kv put -cas a x)], 1, '', "Must specify -modify-index with -cas!\n");
is_run('-flags', [qw(kv put -flags=18446744073709551615 a x)], 0, "Success! Data written to: a\n", '');
is(($a->requests)[-1]{query}, 'flags=18446744073709551615', 'of 64 bits');
like((ctl($o, qw(kv put -flags=x a x)))[2], qr/^invalid value "x" for flag -flags: parse error\n/, 'flags that are no number');
is_run('-acquire', [qw(kv put -acquire -session=good a x)], 0, "Success! Lock acquired on: a\n", '');
is_run('-acquire of what is held', [qw(kv put -acquire -session=bad a x)], 1, '', "Error! Did not acquire lock\n");
is_run('-acquire without a session', [qw(kv put -acquire a x)], 1, '', "Error! Missing -session (required with -acquire and -release)\n");
is_run('-release', [qw(kv put -release -session=good a x)], 0, "Success! Lock released on: a\n", '');
is_run('-release of what is not held', [qw(kv put -release -session=bad a x)], 1, '', "Error! Did not release lock\n");
is_run('a value too large', [qw(kv put big x)], 1, '',
    "Error! Failed writing data: Unexpected response code: 413 (Request body(1000000 bytes) too large, max size: 524288 bytes.)\n");

# delete
is_run('delete', [qw(kv delete a)], 0, "Success! Deleted key: a\n", '');
is_run('delete -recurse', [qw(kv delete -recurse a)], 0, "Success! Deleted keys with prefix: a\n", '');
is_run('delete everything', [qw(kv delete -recurse)], 0, "Success! Deleted keys with prefix: \n", '');
is_run('delete -cas', [qw(kv delete -cas -modify-index=9 a)], 0, "Success! Deleted key: a\n", '');
is_run('delete -cas of what has changed', [qw(kv delete -cas -modify-index=5 a)], 1, '', "Error! Did not delete key a: CAS failed\n");
is_run('delete without a key', [qw(kv delete)], 1, '', "Error! Missing KEY argument\n");
is_run('-modify-index alone', [qw(kv delete -modify-index=5 a)], 1, '', "Cannot specify -modify-index without -cas!\n");
is_run('-cas with -recurse', [qw(kv delete -cas -recurse -modify-index=5 a)], 1, '', "Cannot specify both -cas and -recurse!\n");
is_run('a delete that is denied', [qw(kv delete denied)], 1, '', "Error deleting key denied: Unexpected response code: 403 (Permission denied)\n");

# export and import
my $export = <<'EOT';
[
	{
		"key": "z",
		"flags": 18446744073709551615,
		"value": "bGFzdA=="
	}
]
EOT
is_run('export', [qw(kv export)], 0, $export, '');
is_run('export of nothing', [qw(kv export nothing)], 0, "[]\n", '');
is_run('import what was exported', [qw(kv import -)], 0, "Imported: z\n", '', { stdin => $export });
my $r = ($a->requests)[-1];
is("$r->{path} $r->{query} $r->{body}", '/v1/kv/z flags=18446744073709551615 last', 'with flags and value');
is_run('import -prefix', [qw(kv import -prefix=pre/), $export], 0, "Imported: z\n" =~ s/z/pre\/z/r, '');
is_run('import of no data', [qw(kv import)], 1, '', "Error! Missing DATA argument\n");
is_run('import of empty data', [qw(kv import), ''], 1, '', "Error! Empty DATA argument\n");
like((ctl($o, qw(kv import), '{'))[2], qr/^Cannot unmarshal data: /, 'import of garbage');
is((ctl($o, qw(kv import), '[{"key":"z","flags":0,"value":"!"}]'))[2],
    "Error base 64 decoding value for key z: illegal base64 data\n", 'import of a bad value');

done_testing;
