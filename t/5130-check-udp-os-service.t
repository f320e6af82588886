#!/usr/bin/perl
# UDP checks, and checks of systemd's units through a systemctl that says what the test wants: pass, warn, fail, hang.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Checks;
use Node;
use JSON::PP ();
use Test::More;

my $t = Checks->targets;
my $p = $t->{port};
my $gone = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'udp');
my $closed = $gone->sockport;
close $gone;
mkdir "$t->{dir}/bin";
Node::write_file("$t->{dir}/bin/systemctl", <<"EOT");
#!/bin/sh
echo "\$*" >>$t->{dir}/systemctl.log
case \$3 in
good) echo active; exit 0 ;;
bad) echo failed; exit 3 ;;
off) echo inactive; exit 3 ;;
new) echo activating; exit 3 ;;
going) echo deactivating; exit 3 ;;
hang) exec sleep 300 ;;
none) echo "System has not been booted with systemd as init system (PID 1). Can't operate."; exit 1 ;;
much) i=0; while [ \$i -lt 2000 ]; do echo 0123456789012345678901234567890123456789; i=\$((i + 1)); done; exit 1 ;;
*) kill -9 \$\$ ;;
esac
EOT
chmod 0755, "$t->{dir}/bin/systemctl";
my $n = Node->new(dev => 1, config => { check_update_interval => '0s' }, env => { PATH => "$t->{dir}/bin:$ENV{PATH}" });
my $k = Checks->new($n);

# ---- UDP
$k->check('udp', UDP => "127.0.0.1:$p->{udp}");
$k->check('udp-name', UDP => "localhost:$p->{udp}");
$k->check('udp-silent', UDP => "127.0.0.1:$p->{'udp-silent'}", Timeout => '300ms');
$k->check('udp-refused', UDP => "127.0.0.1:$closed", Timeout => '5s');
$k->check('udp-bad', UDP => 'nowhere');
$k->check('udp-unknown', UDP => 'no.such.host.invalid:1');
$k->becomes('udp', 'passing', qr{^UDP connect 127\.0\.0\.1:$p->{udp}: Success$});
$k->becomes('udp-name', 'passing', qr{^UDP connect localhost:$p->{udp}: Success$});
$k->becomes('udp-silent', 'passing', qr{^UDP connect 127\.0\.0\.1:$p->{'udp-silent'}: Success$}, 'silence is no refusal');
$k->becomes('udp-refused', 'critical', qr{^(read|write) udp 127\.0\.0\.1:\d+->127\.0\.0\.1:$closed: \1: connection refused$});
$k->becomes('udp-bad', 'critical', qr{^dial udp: address nowhere: missing port in address$});
$k->becomes('udp-unknown', 'critical', qr{^dial udp: lookup no\.such\.host\.invalid: });
is($k->now('udp')->{Type}, 'udp', 'the type is shown');

# ---- units of systemd
$k->check("os-$_", OSService => $_) for qw(good bad off new going none much killed --now);
$k->check('os-hang', os_service => 'hang', Timeout => '300ms');
$k->becomes('os-good', 'passing', qr{^Service "good" is healthy$});
$k->becomes('os-new', 'warning', qr{^service status: activating$});
$k->becomes('os-going', 'warning', qr{^service status: deactivating$});
$k->becomes('os-bad', 'critical', qr{^service status: failed - OS Service unhealthy$});
$k->becomes('os-off', 'critical', qr{^service status: inactive - OS Service unhealthy$});
$k->becomes('os-hang', 'critical', qr{^Timed out \(300ms\) running check$});
$k->becomes('os-none', 'critical', qr{^cannot ask systemd for service "none": System has not been booted with systemd});
$k->becomes('os-much', 'critical', qr{^cannot ask systemd for service "much": 0123456789012345678901234567890123456789$});
$k->becomes('os-killed', 'critical', qr{^cannot ask systemd for service "killed": systemctl has failed$});
$k->becomes('os---now', 'critical', qr{^cannot ask systemd}, 'a name is no flag');
like(Node::_slurp("$t->{dir}/systemctl.log"), qr{^is-active -- --now$}m, '... whatever it looks like');
is($k->now('os-good')->{Type}, 'os_service', 'the type is shown');
unlink "$t->{dir}/bin/systemctl";
my $real = grep { -x "$_/systemctl" } split /:/, $ENV{PATH};
my $status = $real && !-d '/run/systemd/system' ? qr{^cannot ask systemd for service "good": \S} : $real ? qr{good} :
	qr{systemctl: there is no such program in \$PATH$};
$k->becomes('os-good', 'critical', $status, 'what the machine itself has' . (-d '/run/systemd/system' ? '' : ', which systemd does not run'));
$k->check('os-long', OSService => 'hang', Timeout => '30s');
$k->clean;
done_testing;
