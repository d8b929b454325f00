/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#include "cli/variant.h"

#include <errno.h>

#include "cli/commands.h"

const struct command *const variant_commands[] = {
    &command_checkpoint, &command_create,   &command_delete, &command_doctor, &command_events,
    &command_exec,       &command_features, &command_kill,   &command_list,   &command_pause,
    &command_ps,         &command_restore,  &command_resume, &command_run,    &command_spec,
    &command_start,      &command_state,    &command_stats,  &command_update, &command_verify,
    &command_version,    NULL,
};
const bool variant_is_static = false;

int variant_hand_over(char *const *argv, char *const *envp, struct error *e)
{
    (void)argv;
    (void)envp;
    return error_set(e, ERROR_INTERNAL, EINVAL, "hand over to", VARIANT_LINKED_NAME, NULL,
                     "this is it");
}

void variant_remember(char *const *argv, char *const *envp)
{
    (void)argv;
    (void)envp;
}
