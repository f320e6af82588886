# Checks.pm - a node with checks, and the targets of t/lib/check_targets.py.
#
#	my $t = Checks->targets;			# $t->{dir}, $t->{port}{h2} ...
#	my $k = Checks->new($node);
#	$k->check('a', UDP => "127.0.0.1:$t->{port}{udp}");
#	$k->becomes('a', 'passing', qr/Success/);
package Checks;

use strict;
use warnings;
use File::Temp ();
use JSON::PP ();
use Node;
use Test::More;

sub new
{
	my ($class, $node) = @_;

	return bless { node => $node }, $class;
}

# Register a check that runs each second.
sub check
{
	my ($self, $name, %def) = @_;
	my @r = $self->{node}->http('PUT', '/v1/agent/check/register', { Name => $name, Interval => '1s', Status => 'warning', %def });

	is($r[0], 200, "$name is registered") or diag $r[2];
}

# The sentence that a definition is refused with.
sub refused
{
	my ($self, $want, $why, %def) = @_;
	my @r = $self->{node}->http('PUT', '/v1/agent/check/register', { Name => 'refused', %def });

	is($r[0], 400, "$why is refused");
	chomp $r[2];
	is($r[2], $want, '... with a sentence');
}

sub now
{
	my ($self, $name) = @_;

	return $self->{node}->get_json('/v1/agent/checks')->{$name};
}

# Wait for a status and an output.
sub becomes
{
	my ($self, $name, $status, $output, $why) = @_;
	my $c;

	$self->{node}->wait_for(sub { $c = $self->now($name) or return 0; $c->{Status} eq $status && $c->{Output} =~ $output });
	is($c->{Status}, $status, $why // "$name becomes $status");
	like($c->{Output}, $output, '... and says why');
	return $c;
}

sub clean
{
	my ($self) = @_;
	my $n = $self->{node};

	unlike($n->log_text . $n->err_text, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nothing for the sanitizers');
	$n->stop;
	unlike($n->log_text . $n->err_text, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nor at the end');
}

# ---- targets

sub _run
{
	my (@cmd) = @_;
	my $out = File::Temp->new;
	my $pid = fork // die;

	if ($pid == 0) {
		open STDOUT, '>', "$out";
		open STDERR, '>&', \*STDOUT;
		exec @cmd or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	die "@cmd: " . Node::_slurp("$out") if $?;
}

# An authority DIR/NAME.pem and NAME.key.
sub authority
{
	my ($dir, $name) = @_;

	_run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', "$dir/$name.key",
		'-out', "$dir/$name.pem", '-days', 7, '-subj', "/CN=$name", '-addext', 'basicConstraints=critical,CA:TRUE',
		'-addext', 'keyUsage=critical,keyCertSign');
}

# A certificate of that authority for a common name and, perhaps, other names ("DNS:a,IP:127.0.0.1").
sub certificate
{
	my ($dir, $ca, $name, $cn, $names) = @_;

	_run('openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', "$dir/$name.key", '-out',
		"$dir/$name.csr", '-subj', "/CN=$cn");
	Node::write_file("$dir/$name.ext", $names ? "subjectAltName=$names\n" : "basicConstraints=CA:FALSE\n");
	_run('openssl', 'x509', '-req', '-in', "$dir/$name.csr", '-CA', "$dir/$ca.pem", '-CAkey', "$dir/$ca.key", '-CAcreateserial', '-days',
		7, '-extfile', "$dir/$name.ext", '-out', "$dir/$name.pem");
}

# tls => 1: with certificates. They end when the object goes.
sub targets
{
	my ($class, %o) = @_;
	my $tmp = File::Temp->newdir('checks-XXXXXX', TMPDIR => 1);
	my $self = bless { tmp => $tmp, dir => "$tmp", owner => $$ }, 'Checks::Targets';

	if ($o{tls}) {
		authority("$tmp", 'ca');
		certificate("$tmp", 'ca', 'server', 'server', 'DNS:target.test,IP:127.0.0.1');
	}
	pipe my $r, my $w or die $!;
	$self->{pid} = fork // die;
	if ($self->{pid} == 0) {
		close $w;
		open STDIN, '<&', $r;
		open STDOUT, '>', '/dev/null';
		exec 'python3', "$Node::SRCDIR/t/lib/check_targets.py", "$tmp" or POSIX::_exit(127);
	}
	close $r;
	$self->{stdin} = $w;
	my $end = time + $Node::TIMEOUT;
	select undef, undef, undef, 0.05 until -e "$tmp/ports.json" || time > $end;
	$self->{port} = JSON::PP::decode_json(Node::_slurp("$tmp/ports.json"));
	return $self;
}

package Checks::Targets;

sub DESTROY
{
	my ($self) = @_;

	return if $self->{owner} != $$ || !$self->{pid};
	local ($?, $!);
	close $self->{stdin};
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
}

1;
