#!/usr/bin/perl
# consulctl agent: five daemons start with the right descriptors and files, and stop in order with nothing left.
use strict;
use warnings;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);
use lib "$ENV{SRCDIR}/t/lib";
use Node;

my @names = qw(checkd dnsd gossipd httpd raftd);

sub gone { my (@pids) = @_; return !Node::alive(@pids); }

# ---- a durable server

my $n = Node->new(start => 0, wait => 'agent');
$n->{config}{pid_file} = "$n->{dir}/pid";
$n->write_config;
$n->start;
my %p = $n->pids;
is join(' ', sort keys %p), "@names", 'five daemons run';
like $n->log_text, qr/^==> Starting Consul agent\.\.\.\n +Version: '[\d.]+'\n +Node ID: '[0-9a-f-]{36}'\n +Node name: '$n->{name}'\n/,
    'the banner';
like $n->log_text, qr/\n +Client Addr: \[\Q$n->{ip}\E\] \(HTTP: $n->{ports}{http}, HTTPS: -1, gRPC: -?\d+, DNS: $n->{ports}{dns}\)\n/,
    'with the ports';
like $n->log_text, qr/\n==> Log data will now stream in as it occurs:\n\n\d{4}-/, 'before the log';
is $n->err_text, '', 'nothing on standard error';
is Node::_slurp("$n->{dir}/pid"), $n->{pid}, 'the pid file';

for my $name (@names) {
	my $dir = "/proc/$p{$name}/fd";
	is join(' ', map { readlink "$dir/$_" } 0 .. 2), "/dev/null /dev/null $n->{log}", "$name: standard descriptors";
	opendir my $d, $dir or die;
	my @others = grep { /^\d+$/ && $_ > 2 && (readlink("$dir/$_") // '') =~ m{^\Q$n->{dir}\E/(log|err)$} } readdir $d;
	is "@others", '', "$name: holds no other of the starter's";
	my $env = Node::_slurp("/proc/$p{$name}/environ");
	like $env, qr/(^|\0)CONSULCTL_PARENT=$n->{pid}\0/, "$name: knows its supervisor";
	unlike $env, qr/(^|\0)LISTEN_FDS=/, "$name: was handed nothing at the first start";
}

my $run = "$n->{data_dir}/run";
is sprintf('%04o', (stat $run)[2] & 07777), '0700', 'the runtime directory is private';
is join(' ', map { sprintf '%04o', (stat "$run/config/$_.json")[2] & 07777 } @names), '0600 0600 0600 0600 0600', 'so are the slices';
is join(' ', sort map { m{([^/]+)$} } glob("$run/config/*")), join(' ', map { "$_.json" } @names), 'and nothing else is there';
ok -S "$run/consulctl.sock", "the supervisor's socket";

my $t0 = time;
is $n->stop('INT'), 1, 'a server that is interrupted does not leave: exit 1, as Consul';
cmp_ok time - $t0, '<', 2, 'within 2 s';
ok gone(values %p), 'no daemon is left';
like $n->log_text, qr/agent: Graceful shutdown disabled\. Exiting/, 'and says so';
my @order = $n->log_text =~ /stopping: daemon=(\w+)/g;
is "@order", 'httpd dnsd checkd gossipd raftd', 'in order';
ok !-e "$n->{dir}/pid", 'the pid file is gone';
for my $port (@{$n->{ports}}{qw(http dns server serf_lan)}) {
	ok(scalar(IO::Socket::INET->new(LocalAddr => $n->{ip}, LocalPort => $port, Listen => 1, ReuseAddr => 1)), "port $port is free");
}
$t0 = time;
$n->start;
cmp_ok time - $t0, '<', 5, 'starts again at once';
undef $n;

# ---- -dev: a temporary directory

$n = Node->new(dev => 1, wait => 'agent');
my @dirs = glob "$n->{dir}/consulctl-dev-*";
is scalar @dirs, 1, '-dev has a temporary runtime directory';
is sprintf('%04o', (stat $dirs[0])[2] & 07777), '0700', 'that is private';
ok !-e $n->{data_dir}, 'and no data directory';
$n->stop;
is scalar(my @left = glob "$n->{dir}/consulctl-dev-*"), 0, 'it goes away with the agent';
$n->start;
@dirs = glob "$n->{dir}/consulctl-dev-*";
my %killed = $n->pids;
kill 'STOP', $killed{dnsd};	# one that does not end by itself
kill 'KILL', $n->{pid};
$n->wait_exit;
ok -d $dirs[0], 'a killed agent cannot remove it';
mkdir "$n->{dir}/consulctl-dev-foreign";
$n->start;
ok gone(values %killed), 'the next one waits for its daemons, and kills what hangs';
ok !-d $dirs[0], 'and removes it';
ok -d "$n->{dir}/consulctl-dev-foreign", 'but touches nothing without a lock';
undef $n;

# ---- a path that no socket address holds

my $tmp = File::Temp->newdir;
my $deep = "$tmp/" . join '/', ('a-directory-with-a-rather-long-name') x 8;
File::Path::make_path($deep);
$n = Node->new(dir => $deep, wait => 'leader');
cmp_ok length("$n->{data_dir}/run/consulctl.sock"), '>', 250, 'a long path';
is(($n->http('PUT', '/v1/kv/a', 'x'))[2] =~ s/\s//gr, 'true', 'all daemons reach each other');
undef $n;

done_testing;
