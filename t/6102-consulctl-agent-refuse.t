#!/usr/bin/perl
# consulctl agent: what cannot start says why in one sentence on standard error, exits 1 and leaves nothing behind.
use strict;
use warnings;
use IO::Socket::INET;
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Node;

# Start what must fail; what it says on standard error.
sub refused
{
	my ($n, $what) = @_;

	$n->start;
	is $n->wait_exit, 1, "$what: exit 1";
	my @lines = split /\n/, $n->err_text;
	is scalar @lines, 1, "$what: one line on standard error" or diag $n->err_text;
	like $lines[0] // '', qr/^==> /, "$what: marked as Consul marks errors";
	return $lines[0] // '';
}

# ---- a port that somebody has

my $n = Node->new(start => 0, wait => 'none');
my $taken = IO::Socket::INET->new(LocalAddr => $n->{ip}, LocalPort => $n->{ports}{http}, Listen => 1, ReuseAddr => 1) or die;
like refused($n, 'port in use'), qr/httpd: .*\Q$n->{ip}:$n->{ports}{http}\E.*in use/, 'it names daemon, address and reason';
like $n->log_text, qr/\[ERROR\] agent: .*\Q$n->{ip}:$n->{ports}{http}\E/, 'the log has it, too';
ok(scalar(IO::Socket::INET->new(LocalAddr => $n->{ip}, LocalPort => $n->{ports}{dns}, Listen => 1, ReuseAddr => 1)), 'the other ports are free');

# ---- or had until a moment ago, as the daemon of an agent that was killed

$n = Node->new(start => 0, wait => 'none', ip => $n->{ip}, ports => $n->{ports});
$n->start;
ok $n->wait_for(sub { $n->log_text =~ /waiting for an address that is in use: listener=http/ }), 'a port is taken at the start';
close $taken;
ok $n->wait_for(sub { ($n->http('GET', '/v1/agent/self'))[0] == 200 }), 'it waits until the port is free';
$n->stop;

# ---- one agent a data directory

$n = Node->new(wait => 'agent');
my $second = Node->new(start => 0, wait => 'none', config => { data_dir => $n->{data_dir} });
my $id = Node::_slurp("$n->{data_dir}/node-id");
like refused($second, 'second agent'), qr/another agent \(pid $n->{pid}\) is running with the data directory \Q$n->{data_dir}\E/,
    'it names the first';
is Node::_slurp("$n->{data_dir}/node-id"), $id, 'whose files are as they were';
ok $n->running, 'and which runs on';

# ---- killed and started again while the daemons of the first life still end

my %old = $n->pids;
CORE::kill('KILL', $n->{pid});
$n->wait_exit;
$n->{wait} = 'agent';
$n->start;
ok $n->running, 'a new agent waits for the daemons of a killed one';
ok !Node::alive(values %old), 'which are gone';
$n->stop;

# ---- configuration

$n = Node->new(start => 0, wait => 'none', config => { bogus => 1 });
$n->start;
is $n->wait_exit, 1, 'unknown key: exit 1';
like $n->err_text, qr/config\.json.*bogus/s, 'which file and key';
ok !-e "$n->{data_dir}/run", 'nothing was made';

$n = Node->new(start => 0, wait => 'none', args => ['-no-such-flag']);
$n->start;
is $n->wait_exit, 1, 'unknown flag: exit 1';
like $n->err_text, qr/no-such-flag/, 'named';

# ---- places that cannot be written

$n = Node->new(start => 0, wait => 'none', config => { pid_file => '/nonexistent/pid' });
like refused($n, 'pid file'), qr{/nonexistent/pid}, 'it names the file';
$n = Node->new(start => 0, wait => 'none', config => { log_file => '/nonexistent/log' });
like refused($n, 'log file'), qr{/nonexistent/log}, 'it names the file';
$n = Node->new(start => 0, wait => 'none', env => { CONSULCTL_LIBEXECDIR => '/nonexistent' });
like refused($n, 'no daemons'), qr{/nonexistent/raftd}, 'it says where it looked';

# ---- servers that cannot be reached

$n = Node->new(start => 0, wait => 'none', config => { bootstrap_expect => 3, start_join => ['127.99.99.99'] });
like refused($n, 'start_join'), qr/none of the addresses to join \(start_join\) could be reached/, 'it says so';
$n = Node->new(wait => 'agent', config => { bootstrap_expect => 3, retry_join => ['127.99.99.99'], retry_interval => '1s', retry_max => 2 });
is $n->wait_exit, 1, 'retry_max: exit 1';
like $n->log_text, qr/max join retry exhausted/, 'it says so';

my ($rc, $out) = $n->ctl('agent', '-h');
is $rc, 0, 'help: exit 0';
like $out, qr/-config-dir/, 'with the flags';

done_testing;
