<?php
/** The whole database into one file of the volume for backups; done again under the same name, it keeps what is there. */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/task.php';
require __DIR__ . '/../lib/dumps.php';

Task::tell( Dumps::of( Configuration::current() )->make( Task::dump() ) );
