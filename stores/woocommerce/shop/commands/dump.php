<?php
/**
 * Write the whole database to one file on the volume for backups; an existing dump of this name is
 * kept.
 */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/task.php';
require __DIR__ . '/../lib/dumps.php';

Task::write_result( Dumps::open( Configuration::load() )->create( Task::get_dump_name() ) );
