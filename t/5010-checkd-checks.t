#!/usr/bin/perl
# HTTP, TCP, script, TTL and alias checks against real targets: pass, warn, fail, hang; thresholds; limits.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use IO::Socket::INET;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time sleep);

# ---- a web server whose paths say what they answer; requests are written to a file

my $http = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64, ReuseAddr => 1) or die $!;
my $web = 'http://127.0.0.1:' . $http->sockport;
my $seen = File::Temp->new;
my $server = fork // die;
if ($server == 0) {
	$SIG{CHLD} = 'IGNORE';
	while (my $c = $http->accept) {
		next if fork;
		my $head = '';
		$head .= <$c> // last until $head =~ /\r\n\r\n/;
		my $body = '';
		read $c, $body, $1 if $head =~ /^Content-Length: (\d+)/mi;
		open my $f, '>>', "$seen";
		syswrite $f, "$head$body\n--\n";
		my ($path) = $head =~ m{^\S+ (\S+)};
		if ($path eq '/hang') {
			sleep 60;
		} elsif ($path eq '/big') {
			print $c "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 'x' x 100000, 'THE END';
		} elsif ($path eq '/moved') {
			print $c "HTTP/1.1 302 Found\r\nLocation: /200\r\nContent-Length: 5\r\n\r\nmoved";
		} else {
			my ($code) = $path =~ m{^/(\d+)};
			print $c "HTTP/1.1 $code Said So\r\nContent-Length: 4\r\n\r\nbody";
		}
		close $c;
		POSIX::_exit(0);
	}
	POSIX::_exit(0);
}

my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64) or die $!;
my $open = $listener->sockport;
my $gone = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
my $closed = $gone->sockport;
close $gone;

my $n = Node->new(dev => 1, config => { enable_script_checks => JSON::PP::true, check_update_interval => '0s' });

my %id;
sub check
{
	my ($name, %def) = @_;
	my @r = $n->http('PUT', '/v1/agent/check/register', { Name => $name, Interval => '1s', %def });

	is($r[0], 200, "$name is registered") or diag $r[2];
}
sub now { return $n->get_json('/v1/agent/checks')->{$_[0]}; }
# Wait for a status, and then for the catalog to know it.
sub becomes
{
	my ($name, $status, $output, $why) = @_;
	my $c;

	$n->wait_for(sub { $c = now($name); $c->{Status} eq $status && $c->{Output} =~ $output });
	is($c->{Status}, $status, $why // "$name becomes $status");
	like($c->{Output}, $output, '... and says why');
	ok($n->wait_for(sub { (grep { $_->{CheckID} eq $name && $_->{Status} eq $status } @{$n->get_json("/v1/health/node/$n->{name}")}) }),
		'in the catalog too');
}

# Those that hang are judged below, when their time is over.
my $began = time;
check('http-default', HTTP => "$web/hang", Status => 'passing');
check('s-default', Args => ['sleep', '300'], Status => 'passing');

# HTTP
check('http-ok', HTTP => "$web/200");
check('http-warn', HTTP => "$web/429");
check('http-fail', HTTP => "$web/500", Status => 'passing');
check('http-hang', HTTP => "$web/hang", Timeout => '200ms', Status => 'passing');
check('http-refused', HTTP => "http://127.0.0.1:$closed/", Status => 'passing');
check('http-moved', HTTP => "$web/moved");
check('http-not-followed', HTTP => "$web/moved", DisableRedirects => JSON::PP::true, Status => 'passing');
check('http-big', HTTP => "$web/big");
check('http-small', HTTP => "$web/big", OutputMaxSize => 16);
check('http-post', HTTP => "$web/201", Method => 'POST', Body => '{"a":1}', Header => { 'X-One' => ['1', '2'], Host => ['other.example'],
	'Content-Type' => ['application/json'] });
check('http-scheme', HTTP => 'file:///etc/passwd', Status => 'passing');
becomes('http-ok', 'passing', qr{^HTTP GET $web/200: 200 Said So Output: body$});
becomes('http-warn', 'warning', qr{429 Said So});
becomes('http-fail', 'critical', qr{^HTTP GET $web/500: 500 Said So Output: body$});
becomes('http-hang', 'critical', qr{^Get "$web/hang": context deadline exceeded});
becomes('http-refused', 'critical', qr{^Get "http://127.0.0.1:$closed/": .*connection refused});
becomes('http-moved', 'passing', qr{200 Said So Output: body$});
becomes('http-not-followed', 'critical', qr{302 Found Output: moved$});
becomes('http-big', 'passing', qr{Output: x{4089}THE END$}, 'the last 4096 bytes of a long answer are kept');
becomes('http-small', 'passing', qr{Output: x{9}THE END$}, 'or as many as the check says');
becomes('http-post', 'passing', qr{^HTTP POST $web/201: 201});
becomes('http-scheme', 'critical', qr{^Get "file:///etc/passwd": }, 'only the web is asked');
unlike(now('http-scheme')->{Output}, qr/root:/, 'no file is read');
my $requests = do { local (@ARGV, $/) = "$seen"; <> };
like($requests, qr{^GET /200 HTTP/1\.1\r\n(?=(?:\S.*\r\n)*User-Agent: Consul Health Check\r\n)(?=(?:\S.*\r\n)*Accept: text/plain, text/\*, \*/\*\r\n)}m,
	'who asks, and for what');
like($requests, qr{^POST /201 HTTP/1\.1\r\n(?=(?:\S.*\r\n)*Host: other\.example\r\n)(?=(?:\S.*\r\n)*X-One: 1\r\nX-One: 2\r\n)(?:\S.*\r\n)*\r\n\{"a":1\}}m,
	'method, headers and body are the definition\'s');

like($requests, qr{^POST /201 HTTP/1\.1\r\n(?:\S.*\r\n)*Content-Type: application/json\r\n}m, 'its own content type as well');

# TCP
check('tcp-ok', TCP => "127.0.0.1:$open");
check('tcp-name', TCP => "localhost:$open");
check('tcp-refused', TCP => "127.0.0.1:$closed", Status => 'passing');
check('tcp-bad', TCP => 'nowhere', Status => 'passing');
check('tcp-unknown', TCP => 'no.such.host.invalid:1', Status => 'passing');
becomes('tcp-ok', 'passing', qr{^TCP connect 127\.0\.0\.1:$open: Success$});
becomes('tcp-name', 'passing', qr{^TCP connect localhost:$open: Success$});
becomes('tcp-refused', 'critical', qr{^dial tcp 127\.0\.0\.1:$closed: connect: connection refused$});
becomes('tcp-bad', 'critical', qr{missing port in address});
becomes('tcp-unknown', 'critical', qr{lookup no\.such\.host\.invalid: });

# Scripts
my $dir = $n->{dir};
sub script
{
	my ($name, $text, %def) = @_;

	Node::write_file("$dir/$name.sh", "#!/bin/sh\n$text\n");
	chmod 0755, "$dir/$name.sh";
	check($name, Args => ["$dir/$name.sh"], %def);
}
script('s-ok', 'echo fine; echo also here >&2');
script('s-warn', 'echo hm; exit 1');
script('s-fail', 'echo no; exit 2', Status => 'passing');
script('s-signal', 'kill -9 $$', Status => 'passing');
script('s-big', 'i=0; while [ $i -lt 500 ]; do echo 0123456789012345678901234567890; i=$((i + 1)); done');
script('s-fds', 'ls -l /proc/self/fd | sed -n "s/.* \([0-9]*\) -> \(.*\)/\1 \2/p"; env | grep -c "^NOTIFY_SOCKET\|^CONSULCTL_PARENT\|^LISTEN"; cat; grep SigIgn /proc/self/status; exit 0');
script('s-tree', "sleep 300 & sleep 300 & echo \$\$ >$dir/tree.pid; wait", Timeout => '300ms', Status => 'passing');
check('s-missing', Args => ['no-such-program-here'], Status => 'passing');
check('s-path', Args => ["$dir/none.sh"], Status => 'passing');
check('s-args', Args => ['sh', '-c', 'echo "$1|$2"; exit 0', 'sh', 'a b', '*']);
becomes('s-ok', 'passing', qr{^fine\nalso here\n$});
becomes('s-warn', 'warning', qr{^hm\n$});
becomes('s-fail', 'critical', qr{^no\n$});
becomes('s-signal', 'critical', qr{^$});
becomes('s-big', 'passing', qr{^Captured 4096 of 16000 bytes\n\.\.\.\n.{4096}$}s, 'a long output is cut at its front');
becomes('s-args', 'passing', qr{^a b\|\*\n$}, 'arguments are given as they are');
becomes('s-missing', 'critical', qr{^exec: "no-such-program-here": executable file not found in \$PATH$});
becomes('s-path', 'critical', qr{^fork/exec $dir/none\.sh: });
becomes('s-fds', 'passing', qr{^0 /dev/null\n1 pipe:\S+\n2 pipe:\S+\n3 /proc/\d+/fd\n0\nSigIgn:\s*[0-9a-f]{8}[08]0{7}\n$}, 'a script inherits nothing (posix_spawn itself ignores signal 32)');
becomes('s-tree', 'critical', qr{^Timed out \(300ms\) running check$}, 'a script that hangs');
my $tree = do { local (@ARGV, $/) = "$dir/tree.pid"; <> };
chomp $tree;
ok($n->wait_for(sub {
	# Several runs may have come and gone; the group of this one is dead with all in it.
	!grep { (Node::_slurp($_) =~ /\) (\S) \d+ (\d+)/) && $2 == $tree && $1 ne 'Z' } glob '/proc/[0-9]*/stat';
}), 'is killed with all it had started');
is((now('s-ok'))->{Type}, 'script', 'the type is shown');

# Never twice at once: a script that takes longer than its interval.
script('s-slow', "echo start >>$dir/slow; sleep 1.5; echo end >>$dir/slow");
ok($n->wait_for(sub { my @l = split /\n/, Node::_slurp("$dir/slow"); @l >= 5 }), 'a slow script runs again and again');
is(join('', map { $_ eq 'start' ? 's' : 'e' } (split /\n/, Node::_slurp("$dir/slow"))[0 .. 4]), 'seses', 'but never twice at once');

# Thresholds
Node::write_file("$dir/state", "0\n");
check('t-critical', Args => ['sh', '-c', "read s <$dir/state; echo run >>$dir/runs; exit \$s"], FailuresBeforeCritical => 3,
	SuccessBeforePassing => 2);
becomes('t-critical', 'passing', qr{}, 'the first result counts at once');
Node::write_file("$dir/state", "2\n");
my $runs = -s "$dir/runs";
becomes('t-critical', 'critical', qr{}, 'then critical takes three in a row');
cmp_ok((-s "$dir/runs") - $runs, '>=', 3 * 4, 'three runs');
Node::write_file("$dir/state", "0\n");
$runs = -s "$dir/runs";
becomes('t-critical', 'passing', qr{}, 'and passing two');
cmp_ok((-s "$dir/runs") - $runs, '>=', 2 * 4, 'two runs');
like($n->log_text, qr/Check failed but has not reached failure threshold: check=t-critical/, 'the log tells of those that do not count');

# TTL
check('ttl', TTL => '1s', Interval => undef);
$n->http('PUT', '/v1/agent/check/pass/ttl?note=' . 'y' x 5000);
is(now('ttl')->{Output}, 'y' x 4096 . ' ... (captured 4096 of 5000 bytes)', 'a long note is cut');
$n->http('PUT', '/v1/agent/check/pass/ttl?note=alive');
is(now('ttl')->{Status}, 'passing', 'the application says so');
becomes('ttl', 'critical', qr{^TTL expired \(last output before timeout follows\): alive$}, 'and falls silent');

becomes('http-default', 'critical', qr{^Get "$web/hang": context deadline exceeded}, 'a request may take ten seconds');
cmp_ok(time - $began, '>=', 10, 'and not less');

check('ttl-silent', TTL => '1s', Interval => undef, Status => 'passing');
becomes('ttl-silent', 'critical', qr{^TTL expired$}, 'one that never spoke');

# Alias
$n->http('PUT', '/v1/agent/service/register', { Name => 'db', Check => { CheckID => 'db', TTL => '1h', Status => 'passing' } });
$n->http('PUT', '/v1/agent/service/register', { Name => 'front', Check => { CheckID => 'front', AliasService => 'db' } });
# Node checks count for an alias as well: take those of this script away that fail.
$n->http('PUT', "/v1/agent/check/deregister/$_") for grep { now($_)->{Status} ne 'passing' && $_ !~ /^(?:db|front)$/ } keys %{$n->get_json('/v1/agent/checks')};
becomes('front', 'passing', qr{^All checks passing\.$});
$n->http('PUT', '/v1/agent/check/fail/db?note=down');
becomes('front', 'critical', qr{^Aliased check "Service 'db' check" failing: down$});
$n->http('PUT', '/v1/agent/service/deregister/db');
becomes('front', 'critical', qr{^Service db could not be found on node }, 'the node\'s own checks do not stand for what it has not got');
check('other-node', AliasNode => 'elsewhere', Interval => undef, Status => 'critical');
$n->http('PUT', '/v1/catalog/register', { Node => 'elsewhere', Address => '192.0.2.1', Check => { Name => 'c', CheckID => 'c', Status => 'warning' } });
becomes('other-node', 'warning', qr{^Aliased check "c" failing: $}, 'an alias of another node follows the catalog');
$n->http('PUT', '/v1/catalog/register', { Node => 'elsewhere', Address => '192.0.2.1', Check => { Name => 'c', CheckID => 'c', Status => 'passing' } });
becomes('other-node', 'passing', qr{^All checks passing\.$}, 'and its changes');
check('other-service', AliasNode => 'elsewhere', AliasService => 'far', Interval => undef, Status => 'passing');
becomes('other-service', 'critical', qr{^Service far could not be found on node elsewhere$}, 'a service that another node has not got');
$n->http('PUT', '/v1/catalog/register', { Node => 'elsewhere', Address => '192.0.2.1', Service => { Service => 'far', Port => 1 } });
becomes('other-service', 'passing', qr{^All checks passing\.$}, '... until it has, without a check of it');
$n->http('PUT', '/v1/catalog/register', { Node => 'elsewhere', Address => '192.0.2.1', Check => { Name => 'f', Status => 'critical', ServiceID => 'far' } });
becomes('other-service', 'critical', qr{^Aliased check "f" failing: $}, '... or with one');
$n->http('PUT', '/v1/catalog/deregister', { Node => 'elsewhere', ServiceID => 'far' });
becomes('other-service', 'critical', qr{^Service far could not be found on node elsewhere$}, '... and when it has gone again');

becomes('s-default', 'critical', qr{^Timed out \(30s\) running check$}, 'a script may take half a minute');
cmp_ok(time - $began, '>=', 30, 'and not less');

# Nothing is left of a script when checkd dies.
script('s-long', "echo \$\$ >$dir/long.pid; exec sleep 300");
ok($n->wait_for(sub { -s "$dir/long.pid" }), 'a script is running');
chomp(my $long = Node::_slurp("$dir/long.pid"));
my %pids = $n->pids;
kill 'KILL', $pids{checkd};
ok($n->wait_for(sub { !Node::alive($long) }), 'and dies with checkd');
unlike($n->log_text . $n->err_text, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nothing for the sanitizers');
$n->stop;
unlike($n->log_text . $n->err_text, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nor at the end');

kill 'KILL', $server;
waitpid $server, 0;
done_testing;
