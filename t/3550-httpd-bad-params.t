#!/usr/bin/perl
# Every row of the table of endpoints, asked as it should not be: the common parameters wrong, bodies that are none.
use strict;
use warnings;
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

# The rows, as routes.c has them.
my %macro = (R => 'RT_READ', B => 'RT_READ RT_BLOCK', DISC => 'RT_DC RT_READ RT_BLOCK RT_DISCOVERY');
my @rows;
open my $f, '<', "$ENV{SRCDIR}/httpd/routes.c" or die;
while (<$f>) {
	next unless /^\t\{ "([^"]+)",\s*([M_A-Z| ]+),\s*([^"]+?),\s*"/;
	my ($path, $methods, $flags) = ($1, $2, $3);
	$flags =~ s/\b(R|B|DISC)\b/$macro{$1}/g;
	# Two rows serve what stands behind an ID.
	my $behind = /OP_QUERY_EXECUTE/ ? '/execute' : /OP_QUERY_EXPLAIN/ ? '/explain' : '';
	push @rows, { path => $path . ($path =~ m{.+/$} ? "x$behind" : ''), methods => [$methods =~ /M_([A-Z]+)/g], map { $_ => 1 } $flags =~ /(RT_\w+)/g };
}
cmp_ok scalar @rows, '>', 80, scalar(@rows) . ' rows';

my $n = Node->new(dev => 1, config => { limits => { http_max_conns_per_client => 1000 } });
my %pids = $n->pids;
my $c = Raw->new($n);
my $fails = 0;

sub ask
{
	my ($method, $target, $headers, $body) = @_;
	my $r = $c->ask($method, $target, $headers, $body);

	if (!$r || $c->{eof} || ($r->{headers}{Connection} // '') eq 'close') {
		$c = Raw->new($n);
	}
	return $r // { status => 0, body => '', headers => {} };
}

# What one row answers wrongly, in a list: a test a row, not a test a question.
my @wrong;
sub check { my ($what, $got, $want) = @_; push @wrong, "$what: $got, wanted $want" if ref $want ? $got !~ $want : $got ne $want }
sub refused { my ($method, $target, $want, $headers) = @_; my $r = ask($method, $target, $headers, $method eq 'GET' ? undef : ''); check("$method $target", "$r->{status} $r->{body}", $want) }

# A refusal is a sentence of text, or one for each address that failed; a state of health is JSON beside its status.
sub sentence
{
	my ($what, $r) = @_;

	check($what, $r->{status}, qr/^[2345]\d\d$/);
	return if $r->{status} < 400 || ($r->{headers}{'Content-Type'} // '') eq 'application/json';
	check("$what: text", length $r->{body}, qr/^(?:\d\d?\d?)$/);
	check("$what: lines", $r->{body} =~ tr/\n//, qr/^[0-8]$/);
}

my $ns = 'Bad request: Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature';
my $partition = 'Bad request: Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature';
my $header = 'Bad request: Invalid header: "X-Consul-Namespace" - Namespaces are a Consul Enterprise feature';
my $conflict = 'Cannot specify ?stale with ?consistent, conflicting semantics.';

for my $row (@rows) {
	my $p = $row->{path};
	@wrong = ();
	my $r = ask('OPTIONS', $p);
	check('OPTIONS', "$r->{status} " . ($r->{headers}{Allow} // ''), '200 OPTIONS,' . join ',', grep { my $m = $_; grep { $_ eq $m } @{$row->{methods}} } qw(GET PUT POST DELETE));
	for my $m (grep { my $x = $_; !grep { $_ eq $x } @{$row->{methods}} } qw(GET PUT DELETE POST PATCH)) {
		refused($m, $p, "405 method $m not allowed");
	}
	for my $m (@{$row->{methods}}) {
		next if $row->{RT_PLAIN};
		refused($m, "$p?ns=a", "400 $ns");
		refused($m, "$p?ns=&ns=a&partition=b", "400 $partition");
		refused($m, $p, "400 $header", { 'X-Consul-Namespace' => 'a' });
		if ($row->{RT_BLOCK} && $m eq 'GET') {
			refused($m, "$p?index=$_", '400 Invalid index') for '-1', '+1', '1e3', '0x10', '18446744073709551616', '1%00', '%ff', '1.0', '%201';
			refused($m, "$p?wait=$_", '400 Invalid wait time') for '1', '1y', '%00', '1%ff', '1s1', '99999999999h', 's';
			refused($m, "$p?index=x&index=1", '400 Invalid index');
		}
		if ($row->{RT_READ}) {
			refused($m, "$p?stale&consistent", "400 $conflict");
			refused($m, "$p?max_stale=1s&consistent", "400 $conflict");
			refused($m, "$p?max_stale=$_->[0]", "400 Invalid max_stale value \"$_->[1]\"") for ['x', 'x'], ['1', '1'], ['%00', '\\x00'], ['1y', '1y'];
		}
	}
	ok !@wrong, "$p: common parameters" or diag join "\n", @wrong[0 .. ($#wrong > 5 ? 5 : $#wrong)];
}

# What has effects beside its answer, or no end, is left out of what follows.
my %spared = map { $_ => 1 } qw(/v1/agent/leave /v1/agent/reload /v1/agent/monitor /v1/stream /v1/snapshot /v1/operator/raft/transfer-leader
	/v1/agent/maintenance);
my @queries = ('%00=%00&%ff=%ff', 'unknown=1&unknown=2&UNKNOWN', join('&', map { "p$_=$_" } 1 .. 600), '&&&=&=&', 'filter=' . 'a' x 2000, '%zz', 'a=%',
	'index=0&wait=0s&near=%00&tag=%00&node-meta=%00&token=%00&dc=', 'near=' . 'n' x 3000, 'cached&cached=x&pretty=%ff', 'index=0;wait=1s');
my %deep = (array => '[' x 1000 . ']' x 1000, object => '{"a":' x 1000 . '1' . '}' x 1000);
my @bodies = ($deep{array}, $deep{object}, '', 'null', 'true', '0', '"', "\0", "{\"Name\":\"\0\"}", "{\"Name\":\"\xff\xfe\"}", '{"Name":"a","Name":"b","NAME":"c"}',
	'{"Name":9223372036854775808,"Port":-9223372036854775809,"TTL":1e999}', '[{}]', '[null]', '{}', '{"":""}', '{"Node":{},"Service":[],"Check":"x","ID":[[]]}',
	'{"Name":"a"} {"Name":"b"}', '{"Port":18446744073709551616}', '{"Name":"' . 'n' x 60000 . '"}');
for my $row (grep { !$spared{$_->{path} =~ s{/x$}{}r} } @rows) {
	@wrong = ();
	for my $m (@{$row->{methods}}) {
		if ($m eq 'GET') {
			sentence("GET ?" . substr($_, 0, 40), ask('GET', "$row->{path}?$_")) for @queries;
			next;
		}
		next if $m eq 'DELETE';
		for my $body (@bodies) {
			my $r = ask($m, $row->{path}, {}, $body);
			sentence("$m " . substr($body, 0, 40), $r);
			check("$m deep", $r->{status}, qr/^[45]/) if grep({ $_ eq $body } values %deep) && $row->{path} =~ m{register$|/txn$|/catalog/};
		}
	}
	ok !@wrong, "$row->{path}: what makes no sense" or diag join "\n", map { s/[^ -~\n]/?/gr } @wrong[0 .. ($#wrong > 5 ? 5 : $#wrong)];
}

my %now = $n->pids;
is $now{$_}, $pids{$_}, "$_ has lived through it" for sort keys %pids;
is ask('GET', '/v1/status/leader')->{status}, 200, 'and all goes on';
$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error/, 'a clean end';
done_testing;
